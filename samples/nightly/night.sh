#!/bin/sh
# One night. Each step runs whatever the one before it ended with: what was classified is routed even where some tickets
# failed (3) or the provider is gone for now (6). The first exit code that is not 0 is the night's.
code=0
step() {
    triage "$@" || { ended=$?; [ "$code" -ne 0 ] || code=$ended; }
}
# step pull -q --deadline 2h                          # with `sources:` in the configuration
# in=/var/spool/tickets/export.csv; [ ! -e "$in" ] || step create -q "$in"    # or where a helpdesk leaves its export
step classify -q --deadline 4h
step route -q
step check -q --max-age 1d --max-delivery-age 1d --max-undeliverable 0
exit "$code"
