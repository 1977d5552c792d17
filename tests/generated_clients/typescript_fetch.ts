// The article's steps by the client that OpenAPI Generator generates for TypeScript (typescript-fetch).
import { BulkApi, Configuration, ReadsApi, ResponseError, TicketsApi } from "./typescript-fetch";

async function main(): Promise<void> {
  const [basePath, key] = process.argv.slice(2);
  const configuration = new Configuration({ basePath, apiKey: key });
  const tickets = new TicketsApi(configuration);
  const reads = new ReadsApi(configuration);
  const bulk = new BulkApi(configuration);
  const made = await tickets.create({ ticketIn: { subject: "Refund?", description: "I was charged twice" } });
  const answer = await tickets.classify({ ticketId: made.ticketId });
  const sent = await tickets.route({ ticketId: made.ticketId });
  const events = await reads.ticketLogs({ ticketId: made.ticketId });
  let unknown = "";
  try {
    await tickets.classify({ ticketId: "nobody-1" });
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    unknown = (await error.response.json()).code;
  }
  const body = new Blob(["subject\nCrash\nInvoice\n"], { type: "text/csv" });
  const lines = await (await bulk.batch({ body, _do: "classify,route" })).text();
  await bulk.classifyMany();
  const actions = events.map((event) => event.action);
  console.log(
    JSON.stringify({
      ticket: made.ticketId, classification: answer.classification, routed: sent.status, actions, unknown,
      lines: lines.trim().split("\n").length,
    }),
  );
}

main();
