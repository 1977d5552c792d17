# The article's steps by the client that OpenAPI Generator generates for Ruby. Arguments: the server's address, a key.
require "json"
require "logger"
require "uri"
require "openapi_client"

address = URI(ARGV[0])
OpenapiClient.configure do |config|
  config.logger = Logger.new($stderr)
  config.scheme = address.scheme
  config.server_index = nil
  config.host = "#{address.host}:#{address.port}"
  config.api_key["X-API-Key"] = ARGV[1]
end
tickets, reads, bulk = OpenapiClient::TicketsApi.new, OpenapiClient::ReadsApi.new, OpenapiClient::BulkApi.new
made = tickets.create(OpenapiClient::TicketIn.new(subject: "Refund?", description: "I was charged twice"))
answer = tickets.classify(made.ticket_id)
sent = tickets.route(made.ticket_id)
events = reads.ticket_logs(made.ticket_id)
begin
  tickets.classify("nobody-1")
rescue OpenapiClient::ApiError => error
  unknown = JSON.parse(error.response_body)["code"]
end
body = %({"subject": "Crash"}\n{"subject": "Invoice"}\n)  # of the types it may be, the client names the one like JSON
lines = bulk.batch(body, { _do: "classify,route" })
bulk.classify_many
puts JSON.generate(
  ticket: made.ticket_id, classification: answer.classification, routed: sent.status, actions: events.map(&:action),
  unknown: unknown, lines: File.readlines(lines.path).length
)
