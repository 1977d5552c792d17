// The article's steps by the client that OpenAPI Generator generates for Go. Arguments: the server's address, a key.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	triage "github.com/GIT_USER_ID/GIT_REPO_ID"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	configuration := triage.NewConfiguration()
	configuration.Servers = triage.ServerConfigurations{{URL: os.Args[1]}}
	client := triage.NewAPIClient(configuration)
	keys := map[string]triage.APIKey{"ApiKey": {Key: os.Args[2]}}
	ctx := context.WithValue(context.Background(), triage.ContextAPIKeys, keys)
	ticket := triage.NewTicketIn()
	ticket.SetSubject("Refund?")
	ticket.SetDescription("I was charged twice")
	made, _, err := client.TicketsAPI.Create(ctx).TicketIn(*ticket).Execute()
	must(made, err)
	answer, _, err := client.TicketsAPI.Classify(ctx, made.TicketId).Execute()
	must(answer, err)
	sent, _, err := client.TicketsAPI.Route(ctx, made.TicketId).Execute()
	must(sent, err)
	events, _, err := client.ReadsAPI.TicketLogs(ctx, made.TicketId).Execute()
	must(events, err)
	actions := []string{}
	for _, event := range events {
		actions = append(actions, event.Action)
	}
	_, _, err = client.TicketsAPI.Classify(ctx, "nobody-1").Execute()
	var refusal *triage.GenericOpenAPIError
	if !errors.As(err, &refusal) {
		panic(err)
	}
	body := must(os.CreateTemp("", "tickets-*.csv"))
	defer os.Remove(body.Name())
	fmt.Fprint(body, "subject\nCrash\nInvoice\n")
	must(body.Seek(0, 0))
	file, _, err := client.BulkAPI.Batch(ctx).Body(body).Do("classify,route").Execute()
	lines := strings.TrimSpace(string(must(os.ReadFile(must(file, err).Name()))))
	_, _, err = client.BulkAPI.ClassifyMany(ctx).Execute()
	must(0, err)
	report, _, err := client.AnalysisAPI.Report(ctx).Execute()
	must(report, err)
	groups, _, err := client.ReadsAPI.StatsGroups(ctx).By([]string{"category", "urgency"}).Execute()
	must(groups, err)
	answered := groups[0].AdditionalProperties["urgency"]
	if _, known := groups[0].AdditionalProperties["urgency"]; !known {
		panic(fmt.Sprint("a group by a question has no answer: ", answered))
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"ticket": made.TicketId, "classification": answer.Classification.Get(), "routed": sent.Status,
		"actions": actions, "unknown": refusal.Model().(triage.Problem).Code, "lines": len(strings.Split(lines, "\n")),
	})
}
