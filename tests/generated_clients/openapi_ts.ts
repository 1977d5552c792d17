// The article's steps by the client that @hey-api/openapi-ts generates.
import { batch, classify, classifyMany, create, route, ticketLogs } from "./openapi-ts";
import { client } from "./openapi-ts/client.gen";

async function main(): Promise<void> {
  const [baseUrl, key] = process.argv.slice(2);
  client.setConfig({ baseUrl, auth: key });
  const made = await create({ body: { subject: "Refund?", description: "I was charged twice" } });
  if (!made.data) throw new Error(JSON.stringify(made.error));
  const path = { ticket_id: made.data.ticket_id };
  const answer = await classify({ path });
  const sent = await route({ path });
  const events = await ticketLogs({ path });
  const none = await classify({ path: { ticket_id: "nobody-1" } });
  const body = new Blob(["subject\nCrash\nInvoice\n"], { type: "text/csv" });
  const many = await batch({ body, query: { do: "classify,route" } });
  const lines = await (many.data as Blob).text();
  await classifyMany();
  const actions = events.data?.map((event) => event.action);
  console.log(
    JSON.stringify({
      ticket: made.data.ticket_id, classification: answer.data?.classification, routed: sent.data?.status, actions,
      unknown: none.error?.code, lines: lines.trim().split("\n").length,
    }),
  );
}

main();
