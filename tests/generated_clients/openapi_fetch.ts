// The article's steps by openapi-fetch, with the types that openapi-typescript generates.
import createClient from "openapi-fetch";
import type { paths } from "./openapi-typescript";

async function main(): Promise<void> {
  const [baseUrl, key] = process.argv.slice(2);
  const client = createClient<paths>({ baseUrl, headers: { "X-API-Key": key } });
  const made = await client.POST("/tickets", { body: { subject: "Refund?", description: "I was charged twice" } });
  if (!made.data) throw new Error(made.error.detail);
  const params = { path: { ticket_id: made.data.ticket_id } };
  const answer = await client.POST("/tickets/{ticket_id}/classify", { params });
  const sent = await client.POST("/tickets/{ticket_id}/route", { params });
  const events = await client.GET("/tickets/{ticket_id}/logs", { params });
  const nobody = { path: { ticket_id: "nobody-1" } };
  const none = await client.POST("/tickets/{ticket_id}/classify", { params: nobody });
  const batch = await client.POST("/tickets/batch", {
    params: { query: { do: "classify,route" } },
    body: "subject\nCrash\nInvoice\n",
    bodySerializer: (body) => body,
    headers: { "Content-Type": "text/csv" },
    parseAs: "text",
  });
  const lines: string = batch.data ?? "";
  await client.POST("/classify", { parseAs: "text" });
  const actions = events.data?.map((event) => event.action);
  console.log(
    JSON.stringify({
      ticket: made.data.ticket_id, classification: answer.data?.classification, routed: sent.data?.status, actions,
      unknown: none.error?.code, lines: lines.trim().split("\n").length,
    }),
  );
}

main();
