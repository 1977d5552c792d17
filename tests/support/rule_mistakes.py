"""Mistakes in rules that read, as `MISTAKES` of config_files.py: the file, and how what is told of it begins."""

A = "destinations: {a: {type: file, path: a}}"


def rule(when: str) -> str:
    """Return a configuration with one rule, whose conditions stand in line 2."""
    return f"{A}\nroutes: [{{to: a, when: {when}}}]"


def calendar(setting: str) -> str:
    """Return a configuration with one calendar, that has a setting beside what each needs, or instead of it."""
    key = setting.partition(":")[0]
    needed = {"zone": "zone: UTC", "hours": "hours: 09:00-17:00"}
    settings = [setting, *(text for name, text in needed.items() if name != key)]
    return f"calendars: {{c: {{{', '.join(settings)}}}}}"


Z = "destinations: {z: {type: http, preset: zendesk, url: https://z.example, auth: {basic: [U, P]}}}"


def before(when: str) -> str:
    """Return a configuration with one rule that sends before the classification, which stands in line 2."""
    return f"{A}\nroutes: [{{to: a, before: classify, when: {when}}}]"


def escalation(when: str) -> str:
    """Return a configuration with one escalation, which stands in line 2."""
    return f"{A}\nescalations: [{{to: a, when: {when}}}]"


WHEN = "2: routes[0].when."
RULE_MISTAKES: list[tuple[str | bytes, str]] = [
    # words and patterns
    (rule("{text: []}"), f"{WHEN}text: needs at least 1"),
    (rule("{text: [outage, 500]}"), f'{WHEN}text[1]: is a number to YAML; quote it: "500"'),
    (rule("{text: no}"), f'{WHEN}text: is a yes or no to YAML; quote it: "no"'),
    (rule("{text: ' '}"), f"{WHEN}text: is empty"),
    (rule('{subject: "\\u200b"}'), f"{WHEN}subject: has no character that can be seen"),
    (rule(f"{{text: {'x' * 201}}}"), f"{WHEN}text: is 201 characters long; a word or phrase has at most 200"),
    (rule("{text: outage.*}"), f"{WHEN}text: looks like a pattern, and a word is looked for as it stands; write {{mat"),
    (rule("{subject: down|outage}"), f"{WHEN}subject: looks like a pattern, and a word is looked for as it stands"),
    (rule("{text: {match: outage, words: x}}"), f"{WHEN}text.words: unknown key; known are match"),
    (rule("{text: {regex: outage}}"), f"{WHEN}text: match is missing"),
    (rule("{text: {match: [a, b]}}"), f"{WHEN}text.match: must be text, not a list"),
    (rule("{text: {match: '(a'}}"), f"{WHEN}text.match: is no pattern: missing ): (a"),
    (rule("{text: {match: 'a{2001}'}}"), f"{WHEN}text.match: is no pattern: invalid repetition size: {{2001}}"),
    (rule("{subject: {match: '(?<!no )outage'}}"), f"{WHEN}subject.match: looks around or back, which could take hou"),
    (rule(r"{subject: {match: '(a)\1'}}"), f"{WHEN}subject.match: looks around or back, which could take hours"),
    (rule("{text: {match: 'x*'}}"), f"{WHEN}text.match: matches an empty text, so every ticket"),
    (rule("{text: {match: 'a[ab]{100}c'}}"), f"{WHEN}text.match: repeats more than 80 characters by count; write * o"),
    (rule(f"{{text: {{match: {'x' * 501}}}}}"), f"{WHEN}text.match: is 501 characters long; a pattern has at most 50"),
    (rule("{description: x}"), f"{WHEN}description: unknown key; known are category, priority"),
    # bounds
    (rule("{extra.amount: {}}"), f"{WHEN}extra.amount: names no bound; write one of over, under, at_least, at_most"),
    (rule("{extra.amount: {above: 5}}"), f"{WHEN}extra.amount.above: unknown key"),
    (rule("{extra.amount: {over: much}}"), f'{WHEN}extra.amount.over: "much" is neither a number nor a time such as'),
    (rule("{extra.amount: {over: '100'}}"), f'{WHEN}extra.amount.over: "100" is neither a number nor a time such as 2'),
    (rule("{extra.amount: {over: .nan}}"), f"{WHEN}extra.amount.over: must be a number from"),
    (rule("{extra.amount: {over: yes}}"), f"{WHEN}extra.amount.over: must be a number, not a yes or no"),
    (rule("{extra.due: {over: 2026-13-01}}"), f'{WHEN}extra.due.over: "2026-13-01" is neither a number nor a time'),
    (rule("{extra.due: {over: 5, under: 2026-11-30}}"), f"{WHEN}extra.due: compares with a number and with a time"),
    (rule("{extra.amount: {over: 5, at_least: 6}}"), f"{WHEN}extra.amount: has both over and at_least; keep one of th"),
    (rule("{extra.amount: {over: 9, under: 3}}"), f"{WHEN}extra.amount: holds of nothing: no value over 9 and under"),
    # fields
    ("fields: [a]", "1: fields: must be a mapping (key: value), not a list"),
    ("fields: {subject: 'x'}", "1: fields.subject: is the name of what a ticket has already; give the field another"),
    ("fields: {mail: 'x'}", "1: fields.mail: is the name of what a ticket has already"),
    ("fields: {nr: 7}", '1: fields.nr: is a number to YAML; quote it: "7"'),
    ("fields:\n  nr: '(?=a)b'", "2: fields.nr: looks around or back, which could take hours"),
    ("fields: {nr: '.*'}", "1: fields.nr: matches an empty text, so every ticket"),
    ("fields: {" + ", ".join(f"f{n}: x" for n in range(51)) + "}", "1: fields: holds more than 50 fields"),
    # calendars and hours
    ("calendars:\n  c: {hours: 09:00-17:00}", "2: calendars.c: zone is missing"),
    ("calendars: {c: {zone: Europe/Berlin}}", "1: calendars.c: hours is missing"),
    (calendar("zone: Europe/Berln"), '1: calendars.c.zone: no time zone "Europe/Berln"; did you mean "Europe/Berlin"?'),
    (calendar("zone: ../etc"), '1: calendars.c.zone: no time zone "../etc"'),
    (calendar("hours: 9-17"), '1: calendars.c.hours: "9-17" is no span of hours, such as 09:00-17:00'),
    (calendar("hours: 09:00-25:00"), '1: calendars.c.hours: "09:00-25:00" is no span of hours'),
    (calendar("hours: 09:00-24:30"), '1: calendars.c.hours: "09:00-24:30" is beyond 24:00'),
    (calendar("hours: 09:00-09:00"), "1: calendars.c.hours: begins and ends at the same time; a whole day is 00:00-24"),
    (calendar("days: weekdays"), '1: calendars.c.days: "weekdays" is no weekday; write mon, tue, wed, thu, fri'),
    (calendar("closed: [12-25]"), '1: calendars.c.closed[0]: "12-25" is no day, such as 2026-12-25'),
    (calendar("closed: [2026-02-30]"), '1: calendars.c.closed[0]: "2026-02-30" is no day'),
    (rule("{hours: office}"), f'{WHEN}hours: no calendar "office"'),
    (
        rule("{hours: {outside: offce}}") + "\n" + calendar("days: mon").replace("{c:", "{office:"),
        f"{WHEN}hours: no calendar",
    ),
    (rule("{hours: {inside: office}}"), f"{WHEN}hours.inside: unknown key"),
    (rule("{hours: 09:00-17:00}"), f'{WHEN}hours: no calendar "09:00-17:00"'),
    # before: classify
    (before("{category: Billing}"), "2: routes[0]: looks at category, which is not known before: classify; leave one"),
    (before("{verdict: true}"), "2: routes[0]: looks at verdict, which is not known before: classify"),
    (before("{min_confidence: 0.5}"), "2: routes[0]: looks at min_confidence, which is not known before: classify"),
    (before("{max_error: 1%}"), "2: routes[0]: looks at max_error, which is not known before: classify"),
    (
        before("{text: x}").replace("before: classify", "before: route"),
        '2: routes[0].before: "route" is none of classi',
    ),
    (
        before("{text: x}").replace("to: a", "to: z").replace(A, Z),
        "2: routes[0]: z labels a helpdesk's ticket with its categ",
    ),
    # escalations
    (escalation("{status: new}").replace(", when: {status: new}", ""), "2: escalations[0]: when is missing"),
    (escalation("{age: {over: 4h}}"), "2: escalations[0].when: status is missing"),
    (escalation("{status: routed}"), '2: escalations[0].when.status: "routed" is none of new, failed, needs_review'),
    (escalation("{status: []}"), "2: escalations[0].when.status: needs at least 1"),
    (escalation("{status: new, age: 4h}"), "2: escalations[0].when.age: must be a mapping (key: value), not text"),
    (escalation("{status: new, age: {over: soon}}"), "2: escalations[0].when.age.over: must be a duration such as 30s"),
    (escalation("{status: new, age: {in: office}}"), "2: escalations[0].when.age: over is missing"),
    (escalation("{status: new, age: {over: 4h, in: office}}"), '2: escalations[0].when.age: no calendar "office"'),
    (escalation("{status: new, max_error: 1%}"), "2: escalations[0].when.max_error: unknown key"),
    (escalation("{status: new}").replace("to: a", "to: b"), '2: escalations[0].to: no destination "b"'),
    (
        escalation("{status: new}").replace("to: a", "to: z").replace(A, Z),
        "2: escalations[0]: z labels a helpdesk's ticket",
    ),
    (
        f"{A}\nescalations:\n- {{name: x, to: a, when: {{status: new}}}}\n- {{name: x, to: a, when: {{status: new}}}}",
        '4: escalations[1]: another escalation is named "x"',
    ),
    (rule("{status: new}"), f"{WHEN}status: unknown key"),
    (rule("{age: {over: 4h}}"), f"{WHEN}age: unknown key"),
    (rule("{customer_id: {over: 5}}"), f"{WHEN}customer_id: must be text, not a mapping"),
]
