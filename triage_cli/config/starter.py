"""What `triage config init` writes."""

STARTER = """\
# The configuration of triage. Every key may be left out; but for the database, the values here are the defaults.
# All keys: config.example.yaml. Check this file with: triage config check

database: triage.db             # beside this file, so that both go together; or postgresql://user@host/name

categories:                     # description and examples are what every classifier reads
  - name: Billing
    description: Invoices, charges, payments, refunds, subscriptions
  - name: Technical
    description: Errors, bugs, logins, outages, performance, integrations
  - name: General
    description: "Everything else: questions, feedback, orders, accounts, how-tos"

classifier: local               # the default, one of those below
classifiers:
  local: {type: local, min_confidence: 0.6}       # below this, a person is asked
  # gpt: {type: openai, model: gpt-6-luna}        # its key stands in the environment: OPENAI_API_KEY
  # both: {type: cascade, steps: [local, gpt]}    # gpt is asked when local is unsure

# Where tickets go: a name from `destinations`, or a URL. By default each category goes to a file
# queues/<category>.jsonl beside the database.
# destinations:
#   billing: {type: webhook, url: https://example.com/billing, secret_env: BILLING_WEBHOOK_SECRET}
#   archive: {type: file, path: archive.jsonl}
# routes:
#   Billing: billing
#   Technical: https://example.com/tech-tickets
#   General: archive
"""
