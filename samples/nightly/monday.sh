#!/bin/sh
# Mails the report of the last week to the address that it is given: as a file for a browser, since few mail programs draw
# SVG. Where there is no report, nothing is sent.
page=$(mktemp) || exit
trap 'rm -f "$page"' EXIT
triage report -q --to "$page" || exit
{
    printf 'To: %s\nSubject: Tickets of the last week\nMIME-Version: 1.0\n' "$1"
    printf 'Content-Type: text/html; charset=utf-8\nContent-Disposition: attachment; filename=tickets.html\n'
    printf 'Content-Transfer-Encoding: base64\n\n'
    base64 "$page"
} | "${SENDMAIL:-/usr/sbin/sendmail}" -t
