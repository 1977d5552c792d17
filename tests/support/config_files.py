"""Configurations that are shipped, and mistakes in one."""

import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def whole_example() -> str:
    """Return the example with what is commented out in it, since it needs another machine or its own rights."""
    keys = (
        "remote:|pager:|tap:|vault:|  type: |  run:|  final_exit:|  format:|  stream:|  fields:"
        "|  url: https://odd|  auth:|    bearer_command:|    env:"
    )
    commented = rf"(?m)^( *)# ({keys})"
    return re.sub(commented, r"\1\2", EXAMPLE.read_text(encoding="utf-8"))


# The file, and how what is told of it begins, behind `config.yaml:`.
HTTP = '{type: http, url: "https://d.example"'
OAUTH2 = "token_url: https://t.example/token, client_id_env: ID, client_secret_env: SECRET"
MAIL = "type: mail, host: h.example, from: a@b.example, to: c@d.example"
IMAP = "type: imap, host: h.example"
# A question with two values, and the beginning of one.
ASKED = "questions: {urgency: {values: [now, later]"
MISTAKES: list[tuple[str | bytes, str]] = [
    # questions
    ("questions: {priority: {values: [a, b]}}", "1: questions.priority: has the name of what a ticket has already"),
    ("questions: {week: {values: [a, b]}}", "1: questions.week: has the name of what a ticket has already"),
    (
        "questions: {status_confidence: {values: [a, b]}}",
        "1: questions.status_confidence: has the name of what a ticket",
    ),
    ("questions: {how soon: {values: [a, b]}}", "1: questions.how soon: must have a name of at most 40 letters"),
    (
        "questions: {mood: {values: [a, b]}, Mood: {values: [a, b]}}",
        '1: questions.Mood: has the name of "mood" but for its case',
    ),
    ("questions: {mood: {ask: Angry}}", "1: questions.mood: values is missing"),
    ("questions: {mood: {values: [calm]}}", "1: questions.mood.values: needs 2 to 255 categories, not 1"),
    ('questions: {mood: {values: ["calm, mostly", b]}}', '1: questions.mood.values[0]: "calm, mostly" holds a comma'),
    ("questions: {mood: {values: [calm, None]}}", '1: questions.mood.values[1]: "None" is what a verdict says'),
    (f"{ASKED}, many: 3}}}}", "1: questions.urgency.many: must be true or false"),
    (
        "questions: {tags: {values: [a b, c], many: true}}",
        '1: questions.tags.values[0]: "a b" is no name of a value of',
    ),
    (
        "questions: {tags: {values: [a/b, a], many: true}}",
        '1: questions.tags.values[0]: "a/b" is no name of a value of',
    ),
    (
        "questions: {tags: {values: [none, c], many: true}}",
        '1: questions.tags.values[0]: "none" is what a verdict says',
    ),
    (
        "questions: {tags: {values: [{name: a, was: [b]}, c], many: true}}",
        "1: questions.tags: values of which several may hold are not renamed yet",
    ),
    (
        f"questions: {{tags: {{values: {[f'v{n}' for n in range(21)]}, many: true}}}}",
        "1: questions.tags: makes more than 20 questions: each of several values is one",
    ),
    (
        "questions: {tags: {values: [a, b], many: true}}\nroutes: [{to: https://x, when: {tags: [a, c]}}]",
        '2: routes[0].when.tags: no value "c"',
    ),
    (
        "questions: {tags: {values: [a, b], many: true}}\nroutes: [{to: https://x, when: {tags.a: x}}]",
        "2: routes[0].when.tags.a: unknown key",
    ),
    (f"{ASKED}, map: {{P1: now}}}}}}", "1: questions.urgency: map translates the values of a column"),
    (f"{ASKED}, column: P, map: {{P1: nov}}}}}}", '1: questions.urgency.map: "P1" would mean "nov", which is no value'),
    (f"{ASKED}, max_error: 5%, min_confidence: 0.7}}}}", "1: questions.urgency: max_error stands in place of"),
    (f"{ASKED}, classifier: g}}}}", '1: questions.urgency.classifier: no classifier "g"'),
    (
        f"{ASKED}}}}}\nroutes: [{{to: https://x, when: {{urgency: soon}}}}]",
        '2: routes[0].when.urgency: no value "soon"',
    ),
    (
        f"{ASKED}}}}}\nroutes: [{{to: https://x, before: classify, when: {{urgency: now}}}}]",
        "2: routes[0]: looks at urgency, which is not known before: classify",
    ),
    # a value of another kind where a mapping belongs
    (
        f"destinations: {{d: {HTTP}, ok: [200]}}}}",
        "1: destinations.d.ok: must be a mapping, such as {status: 409}, not a list",
    ),
    (
        f"destinations: {{d: {HTTP}, ok: }}}}",
        "1: destinations.d.ok: must be a mapping, such as {status: 409}, not nothing",
    ),
    (
        f"destinations: {{d: {HTTP}, retry: 409}}}}",
        "1: destinations.d.retry: must be a mapping, such as {status: 409}, not a number",
    ),
    (
        f"destinations: {{d: {HTTP}, find: true}}}}",
        "1: destinations.d.find: must be a mapping (key: value), not a yes or no",
    ),
    (
        f"destinations: {{d: {HTTP}, once: true}}}}",
        "1: destinations.d.once: must be a mapping (key: value), not a yes or no",
    ),
    (
        "sources:\n  s: {type: http, url: https://d.example, fields: }",
        "2: sources.s.fields: must be a mapping (key: value), not nothing",
    ),
    (
        "routes: [{when: {extra.amount: '>100'}, to: a}]\ndestinations: {a: {type: file, path: a}}",
        '1: routes[0].when.extra.amount: compares no numbers: only the text ">100" itself would match; write {over: 10',
    ),
    (
        "routes: [{when: {extra.amount: [low, '<= 1_000.5']}, to: a}]\ndestinations: {a: {type: file, path: a}}",
        '1: routes[0].when.extra.amount[1]: compares no numbers: only the text "<= 1_000.5" itself would match',
    ),
    # kept mappings
    ("imports: {s: {map: {subject: Title}}}", "1: imports.s: columns is missing"),
    ("imports: {s: {columns: []}}", "1: imports.s.columns: needs at least 1"),
    ("imports: {s: {columns: Title}}", "1: imports.s.columns: must be a list, not text"),
    ("imports: {s: {columns: [[a]]}}", "1: imports.s.columns[0]: must be the name of a column, not a list"),
    ("imports: {s: {columns: ['']}}", "1: imports.s.columns[0]: is empty"),
    (
        "imports:\n  s:\n    columns: [a]\n    map: {title: a}",
        "4: imports.s.map.title: unknown key; known are subject, description,",
    ),
    (
        "imports: {s: {columns: [a], map: {subject: {a: b}}}}",
        "1: imports.s.map.subject: must be the name of a column, not",
    ),
    (
        "imports: {s: {columns: [a], source: ' b'}}",
        "1: imports.s.source: must have 1 to 80 characters, no blank first",
    ),
    ("imports: {s: {columns: [a], html: sometimes}}", "1: imports.s.html: must be true or false, not text"),
    ("imports: {s: {columns: [a], format: xlsx}}", '1: imports.s.format: "xlsx" is none of csv, tsv, json or jsonl'),
    (
        "imports: {s: {columns: [a], delimiter: ab}}",
        '1: imports.s.delimiter: must be one character, such as ";", or tab',
    ),
    ("imports: {s: {columns: [a], encoding: utf-9}}", '1: imports.s.encoding: "utf-9" is no encoding; try utf-8'),
    ("imports: {s: {column: [a]}}", '1: imports.s.column: unknown key; did you mean "columns"?'),
    ("imports: [a]", "1: imports: must be a mapping (key: value), not a list"),
    # the file as a whole; what is expected stands behind "config.yaml:"
    (
        "server: {cors_origins: [https://desk.example.com/]}",
        "1: server.cors_origins[0]: must end with the host or port, as in https://desk.example.com",
    ),
    ("server: {cors_origins: '*'}", "1: server.cors_origins: must be a URL that begins with https:// or http://"),
    ("server: {app: maybe}", "1: server.app: must be true or false"),
    ("categories: [a", "1: column 15: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got"),
    ("a: 1\n\tb: 2", "2: column 1: not valid YAML: "),
    (b"a: 1\nb: \xe4", "2: byte 0xe4 is not UTF-8; save the file as UTF-8"),
    (b"a: \x07", "1: the character U+0007 is not allowed in YAML"),
    ('a: "\\UFFFFFFFF"', "1: "),
    ("- a", "1: must be a mapping (key: value)"),
    ("a: *b", "1: column 4: not valid YAML: found undefined alias 'b'"),
    ("a: 1\n---\nb: 1", "2: column 1: not valid YAML: expected a single document"),
    ("routes: " + "[" * 600, "1: nested too deeply"),
    ("routes: " + "[" * 30 + "]" * 30, "1: nested too deeply"),
    ("a: &a [*a]", "1: nested too deeply"),
    ("#" * 1_000_001, "1: larger than 1 MB, which no configuration needs"),
    ('database: "a\\0b"', "1: database: holds a character that is no text"),
    ('database: "\\uD800"', "1: database: holds a character that is no text"),
    ("budget: !!python/object/apply:os.system [x]", "1: budget: the tag !!python/object/apply:os.system"),
    ("database: !env X", "1: database: the tag !env is not understood here; leave it out"),
    # keys
    ("offline: true\ncatgories: [a, b]", '2: catgories: unknown key; did you mean "categories"?'),
    ("zzz:", "1: zzz: unknown key; known are database, categories,"),
    ("redact: [email]", "1: redact: is a key of a classifier; write it below classifiers.NAME"),
    ("offline: true\n\noffline: false", "3: offline: stands twice, first in line 1; remove one"),
    ("routes: {yes: https://x.example}", '1: routes.yes: a key must be text; quote it: "yes"'),
    ("routes: {[a]: b}", "1: routes: a key must be plain text"),
    ("x: &x {type: local}\nclassifiers: {a: {<<: *x}}", "2: classifiers.a.<<: merging is not supported"),
    ("api_key: sk-1", "1: api_key: secrets do not belong in this file; put it into the environment and"),
    # plain values
    ("database: {host: x}", "1: database: must be text, not a mapping"),
    ("database: 12", '1: database: is a number to YAML; quote it: "12"'),
    ("database: postgresql://me:pw@host/db", "1: database: holds a password; put it into the environment"),
    ("database: postgresql://host/db?password=pw", "1: database: holds a password; put it into the"),
    ("database: ':memory:'", "1: database: is no path: a database in memory would be gone when the command ends"),
    ("database: mysql://host/db", "1: database: must be a path or postgresql://user@host/name"),
    ("remote: ftp://x", "1: remote: must be a URL that begins with https:// or http://"),
    ("nightly: {max_age: soon}", "1: nightly.max_age: must be a duration such as 30s, 5m, 12h, 7d or 4w"),
    (
        "nightly: {heartbeat: {url_env: 'https://x.example/1'}}",
        "1: nightly.heartbeat.url_env: takes the name of an environment variable, never the secret itself",
    ),
    ("labelled_texts: {keep: 10}", "1: labelled_texts.keep: must be a whole number from 1000 to 1e+06, not 10"),
    ("budget: 5", "1: budget: must be a mapping (key: value), not a number"),
    ("budget: {per_day: '5'}", "1: budget.per_day: must be a number, not text; write it without quotes"),
    (
        "destinations: {q: {type: file, path: q, retry_schedule: [1s, 2]}}",
        "1: destinations.q.retry_schedule[0]: must be a number of seconds, such as 1, not text",
    ),
    ("budget: {per_day: -1}", "1: budget.per_day: must be a number from 0 to 1e+06, not -1"),
    ("budget: {per_day: .nan}", "1: budget.per_day: must be a number from 0 to 1e+06, not .nan"),
    (f"budget: {{per_day: 1{'0' * 400}}}", "1: budget.per_day: must be a number from 0 to 1e+06, not 1000"),
    ("budget: {per_day: .inf}", "1: budget.per_day: must be a number from 0 to 1e+06, not .inf"),
    ("budget: {per_day: yes}", "1: budget.per_day: must be a number, not a yes or no"),
    # categories
    ("categories: [a]", "1: categories: needs 2 to 255 categories, not 1"),
    ("categories: []", "1: categories: needs 2 to 255 categories, not 0"),
    ("categories: {a: b}", "1: categories: must be a list, not a mapping"),
    ("categories:\n- a\n- yes", '3: categories[1]: is a yes or no to YAML; quote it: "yes"'),
    ("categories:\n- a\n- 2026-01-01", '3: categories[1]: is a date or time to YAML; quote it: "2026-01'),
    ("categories:\n- a\n- 12:30", '3: categories[1]: is a date or time to YAML; quote it: "12:30"'),
    ("categories:\n- a\n- {name: 404}", '3: categories[1].name: is a number to YAML; quote it: "404"'),
    ("categories:\n- a\n- {description: x}", "3: categories[1]: name is missing"),
    ("categories:\n- a\n-", "3: categories[1]: must be text, not nothing"),
    ("categories:\n- Straße\n- b\n- name: STRASSE", '4: categories[2]: "STRASSE" is the category of categories[0'),
    ("categories: [a, ' b']", "1: categories[1]: must not be empty or begin or end with blanks"),
    ("categories: [a, " + "b" * 81 + "]", "1: categories[1]: is 81 characters long; a name has at most 80"),
    ('categories: [a, "b\\tc"]', "1: categories[1]: holds a control character"),
    ('categories: [a, "Bil\\u200bling"]', "1: categories[1]: holds U+200B, which nobody sees; type it again"),
    ('categories: [a, {name: "b\\u202e"}]', "1: categories[1].name: holds U+202E, which nobody sees; type it again"),
    ('destinations: {"a\\u2060": {type: file, path: x}}', "1: destinations.a\u2060: the name holds U+2060, which"),
    ("categories: [a, {name: b, was: a}]", '1: categories[1]: was: "a" is a category still; a former'),
    ("categories: [{name: a, was: x}, {name: b, was: x}]", '1: categories[1]: was: "x" is a former name of "a"'),
    ("categories: [a, {name: b, examples: [x, 1]}]", "1: categories[1].examples[1]: is a number to YAML;"),
    # classifiers
    ("classifier: gtp\nclassifiers: {gpt: {type: openai, model: m}}", '1: classifier: no classifier "gtp"; did'),
    ("classifiers:\n  a: {}", "2: classifiers.a: type is missing"),
    ("classifiers:\n  a: openai", "2: classifiers.a: must be a mapping (key: value), not text"),
    ("classifiers: {a: {type: opnai}}", '1: classifiers.a.type: "opnai" is none of local, decision, openai,'),
    ("classifiers:\n  a: {type: openai}", "2: classifiers.a: model is missing"),
    (
        "classifiers:\n  a:\n    type: local\n    min_confidence: 1.5",
        "4: classifiers.a.min_confidence: must be a number from 0 to 1, not 1.5",
    ),
    ("classifiers: {a: {type: openai, model: m, wire: systemone}}", '1: classifiers.a.wire: means nothing to type "op'),
    ("classifiers: {a: {type: decision, model: m, wire: x}}", '1: classifiers.a.wire: "x" is none of decisions or s'),
    ("classifiers: {a: {type: local, model: m}}", '1: classifiers.a.model: means nothing to type "local"'),
    (
        "classifiers: {a: {type: openai, model: m, api_key: sk-1}}",
        "1: classifiers.a.api_key: secrets do not belong in this file; put it into the environment and name",
    ),
    (
        "classifiers: {a: {type: openai, model: m, api_key_env: sk-1-2}}",
        "1: classifiers.a.api_key_env: takes the name of an environment variable, never the secret itself",
    ),
    (
        "classifiers: {a: {type: openai, model: m, token_per_minute: 1}}",
        '1: classifiers.a.token_per_minute: unknown key; did you mean "tokens_per_minute"?',
    ),
    (
        "classifiers: {a: {type: openai, model: m, base_url: https://me:pw@x.example}}",
        "1: classifiers.a.base_url: holds a user name or password; secrets do not belong in a URL",
    ),
    (
        "classifiers: {a: {type: openai, model: m, base_url: https://x.example}}",
        "1: classifiers.a: api_key_env is missing: name the variable of this server's key, or null",
    ),
    (
        "classifiers: {a: {type: openai, model: m, workers: 1.5}}",
        "1: classifiers.a.workers: must be a whole number from 1 to 1000, not 1.5",
    ),
    ("classifiers: {a: {type: openai, model: m, price: {input: 1}}}", "1: classifiers.a.price: output is missing"),
    (
        "classifiers: {a: {type: local, instructions: x}}",
        '1: classifiers.a.instructions: means nothing to type "local"',
    ),
    (
        f"classifiers: {{a: {{type: openai, model: m, instructions: {'x ' * 4001}}}}}",
        "1: classifiers.a.instructions: has",
    ),
    (
        "classifiers: {a: {type: openai, model: m, effort: lots}}",
        '1: classifiers.a.effort: "lots" is none of none, minimal, low, medium or high',
    ),
    (
        "classifiers: {a: {type: decision, model: m, effort: low}}",
        '1: classifiers.a.effort: means nothing to type "decision"',
    ),
    (
        "classifiers: {a: {type: anthropic, model: m, max_answer_tokens: 0}}",
        "1: classifiers.a.max_answer_tokens: must be a whole number from 16 to",
    ),
    ("classifiers: {a: {type: command}}", "1: classifiers.a: run is missing"),
    ("classifiers: {a: {type: command, run: ls -l}}", "1: classifiers.a.run: must be a list, since no shell is used"),
    ("classifiers: {a: {type: command, run: [ls], redact: [email]}}", "1: classifiers.a.redact: means nothing to type"),
    ("classifiers: {a: {type: openai, model: m, redact: [mail]}}", '1: classifiers.a.redact[0]: "mail" is none'),
    (
        "classifiers:\n  a:\n    type: cascade\n    steps:\n    - local\n    - lokal",
        '6: classifiers.a.steps[1]: no classifier "lokal"; did you mean "local"?',
    ),
    ("classifiers: {a: {type: cascade, steps: [local, a]}}", '1: classifiers.a.steps[1]: "a" is a cascade;'),
    ("classifiers: {a: {type: cascade, steps: [local, local]}}", '1: classifiers.a.steps[1]: "local" stands'),
    ("classifiers: {a: {type: cascade, steps: []}}", "1: classifiers.a.steps: needs at least 1"),
    ("classifiers: {a: {type: cascade}}", "1: classifiers.a: steps is missing"),
    ("classifiers: {' a': {type: local}}", "1: classifiers. a: the name must not be empty or begin"),
    # destinations
    ("destinations: {a: {type: webhook}}", "1: destinations.a: url is missing"),
    ("destinations: {a: {type: command}}", "1: destinations.a: run is missing"),
    ("destinations: {a: {type: file}}", "1: destinations.a: path is missing"),
    ("destinations: {a: {type: file, path: .}}", "1: destinations.a.path: "),
    ("destinations: {a: {type: webhook, url: 'https://'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://x:99999'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://x y/'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://a..b/'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://256.1.1.1/'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://1.1.1.01/'}}", "1: destinations.a.url: is not a valid URL"),
    ("destinations: {a: {type: webhook, url: 'https://xn--0.com/'}}", "1: destinations.a.url: is not a valid URL"),
    (
        "destinations: {a: {type: webhook, url: https://x, secret: whsec_1}}",
        "1: destinations.a.secret: secrets do not belong in this file; put it into the environment and name",
    ),
    ("destinations: {a: {type: command, run: ./x y}}", "1: destinations.a.run: must be a list, since no shell"),
    ("destinations: {a: {type: command, run: [x], final_exit: 0}}", "1: destinations.a.final_exit: must be a whole"),
    ("destinations: {a: {type: command, run: [x], final_exit: [64, 256]}}", "1: destinations.a.final_exit[1]: must be"),
    ("destinations: {a: {type: file, path: x, final_exit: 64}}", "1: destinations.a.final_exit: means nothing to type"),
    ("destinations: {a: {type: mail, from: a@b, to: c@d}}", "1: destinations.a: host is missing"),
    ("destinations: {a: {type: mail, host: h, to: c@d}}", "1: destinations.a: from is missing"),
    ("destinations: {a: {type: mail, host: h, from: a@b}}", "1: destinations.a: to is missing"),
    ("destinations: {a: {type: mail, host: h, from: a@b, to: []}}", "1: destinations.a.to: needs at least 1"),
    (
        "destinations: {a: {type: mail, host: 'smtp://h', from: a@b, to: c@d}}",
        "1: destinations.a.host: must be the name",
    ),
    ("destinations: {a: {type: mail, host: h, from: nobody, to: c@d}}", "1: destinations.a.from: must be a mail addr"),
    (
        'destinations: {a: {type: mail, host: h, from: a@b, to: [c@d, "e@f\\r\\nBcc: x@y"]}}',
        "1: destinations.a.to[1]: must be a mail address, such as team@example.com or Team <team@example.com>",
    ),
    ("destinations: {a: {type: mail, host: h, from: a@b, to: c@d, port: 0}}", "1: destinations.a.port: must be a whol"),
    (
        "destinations: {a: {type: mail, host: h, from: a@b, to: c@d, tls: ssl}}",
        '1: destinations.a.tls: "ssl" is none of',
    ),
    (
        "destinations: {a: {type: mail, host: h, from: a@b, to: c@d, user_env: U}}",
        "1: destinations.a: needs both user_env and password_env (or auth), or neither",
    ),
    (
        "destinations: {a: {type: mail, host: h, from: a@b, to: c@d, password: sk-1}}",
        "1: destinations.a.password: secrets do not belong in this file; put it into the environment and name",
    ),
    ("destinations: {a: {type: mail, host: h, from: a@b, to: c@d, url: x}}", "1: destinations.a.url: unknown key"),
    (
        "destinations: {a: {type: http, url: https://x, find: {get: /, field: a.F, absent: empty}, body: {a: {f: x}}}}",
        "1: destinations.a.find.absent: needs a body that sets this field, in an object of the same name (a: {F: …}):",
    ),
    (
        "destinations: {a: {type: http, url: https://x, find: {get: /a, field: F, absent: empty}, body: {F: x}}}",
        "1: destinations.a.find.absent: needs a field that stands in an object, such as fields.F",
    ),
    (
        "destinations: {a: {type: http, url: https://x, find: {get: /a, keep: {b: c}, absent: empty}}}",
        "1: destinations.a.find: absent needs field",
    ),
    (
        "destinations: {a: {type: http, url: https://x, find: {get: /a, field: a.b, absent: none}, body: {a: {b: 1}}}}",
        '1: destinations.a.find.absent: "none" is none of empty',
    ),
    ("destinations: {a: {type: file, path: x, max_attempts: 0}}", "1: destinations.a.max_attempts: must be a"),
    ("destinations: {'https://x': {type: file, path: x}}", "1: destinations.https://x: give the destination a"),
    # access tokens
    *(
        (
            f"destinations:\n  d:\n    type: http\n    url: https://d.example\n    auth: {auth}",
            f"5: destinations.d.auth{told}",
        )
        for auth, told in (
            (
                f"{{bearer: T, oauth2: {{{OAUTH2}}}}}",
                ": takes one of basic: [USER, PASSWORD], bearer: VARIABLE, header:",
            ),
            ("{oauth2: }", ".oauth2: must be a mapping (key: value), not nothing"),
            ("{oauth2: {client_id_env: ID, client_secret_env: S}}", ".oauth2: token_url is missing"),
            ("{oauth2: {token_url: https://t.example, client_secret_env: S}}", ".oauth2: client_id_env is missing"),
            ("{oauth2: {token_url: https://t.example, client_id_env: S}}", ".oauth2: client_secret_env is missing"),
            (
                "{oauth2: {token_url: http://t.example, client_id_env: I, client_secret_env: S}}",
                ".oauth2.token_url: must begin with https://, since http:// is for this machine alone",
            ),
            (
                "{oauth2: {token_url: 'https://t.example/{{ tenant }}', client_id_env: I, client_secret_env: S}}",
                ".oauth2.token_url: holds a template, which it cannot",
            ),
            (
                "{oauth2: {token_url: https://t.example, client_id_env: I, client_secret_env: sk-1-2}}",
                ".oauth2.client_secret_env: takes the name of an environment variable, never the secret itself",
            ),
            (
                f"{{oauth2: {{{OAUTH2}, client_secret: s3cr3t}}}}",
                ".oauth2.client_secret: secrets do not belong in this file; put it into the environment and name the",
            ),
            (f"{{oauth2: {{{OAUTH2}, scopes: a}}}}", '.oauth2.scopes: unknown key; did you mean "scope"?'),
            (f"{{oauth2: {{{OAUTH2}, scope: [a, b]}}}}", ".oauth2.scope: must be text, not a list"),
            (f"{{oauth2: {{{OAUTH2}, send: header}}}}", '.oauth2.send: "header" is none of body or basic'),
            (f"{{oauth2: {{{OAUTH2}, params: [a]}}}}", ".oauth2.params: must be a mapping (key: value), not a list"),
            (f"{{oauth2: {{{OAUTH2}, params: {{scope: a}}}}}}", ".oauth2.params.scope: stands beside params: scope"),
            (
                f"{{oauth2: {{{OAUTH2}, params: {{client_secret: s3cr3t}}}}}}",
                ".oauth2.params.client_secret: stands beside params: client_secret_env",
            ),
            (
                f"{{oauth2: {{{OAUTH2}, params: {{refresh_token: s3cr3t}}}}}}",
                ".oauth2.params.refresh_token: is a secret, or needs one; a command that keeps it prints the token",
            ),
            (
                f"{{oauth2: {{{OAUTH2}}}, env: T}}",
                ": env means nothing to oauth2, which has client_id_env and client_secret_env",
            ),
            (f"{{oauth2: {{{OAUTH2}}}, prefix: T}}", ": prefix means nothing to oauth2"),
            ("{bearer_command: ./token.sh}", ".bearer_command: must be a list, since no shell is used"),
            ("{bearer_command: []}", ".bearer_command: needs at least 1"),
            ("{bearer_command: [a], prefix: T}", ": prefix means nothing to bearer_command"),
            ("{bearer_command: [a], env: sk-1-2}", ".env: takes the name of an environment variable, never the secret"),
            ("{header: X-Key, env: [A, B]}", ": a header takes one variable as env"),
        )
    ),
    (f"sources:\n  s: {{{IMAP}, user_env: U}}", "2: sources.s: needs one of password_env and auth, for the login"),
    (
        f"sources:\n  s: {{{IMAP}, user_env: U, password_env: P, auth: {{bearer_command: [a]}}}}",
        "2: sources.s: needs one of password_env and auth, for the login",
    ),
    (f"sources:\n  s: {{{IMAP}, auth: {{bearer_command: [a]}}}}", "2: sources.s: user_env is missing"),
    (
        f"sources: {{s: {{{IMAP}, user_env: U, auth: {{basic: [A, B]}}}}}}",
        "1: sources.s.auth: basic is for requests over HTTP; a mail server takes oauth2 or bearer_command here, and",
    ),
    (
        f"destinations: {{d: {{{MAIL}, user_env: U, auth: {{bearer: T}}}}}}",
        "1: destinations.d.auth: bearer is for requests over HTTP; a mail server takes oauth2 or bearer_command here",
    ),
    (
        f"destinations:\n  d: {{{MAIL}, auth: {{bearer_command: [a]}}}}",
        "2: destinations.d: needs both user_env and password_env (or auth), or neither",
    ),
    (
        f"destinations:\n  d: {{{MAIL}, user_env: U, password_env: P, auth: {{bearer_command: [a]}}}}",
        "2: destinations.d: password_env and auth exclude each other; remove one",
    ),
    # webhooks
    (
        "webhooks: {a: {type: standard, secret_env: A, fields: {subject: 0.title}}}",
        "1: webhooks.a.fields: each event of a list counts by itself: leave out the number at the beginning of a path",
    ),
    (
        "webhooks: {a: {type: standard, secret_env: A, fields: {subject: title}, when: {0.type: new}}}",
        "1: webhooks.a.when: each event of a list counts by itself: leave out the number at the beginning of a path",
    ),
    (
        "webhooks: {a: {type: standard, secret_env: A, fields: {subject: s, external_id: []}}}",
        "1: webhooks.a.fields.external_id: needs at least 1",
    ),
    (
        "webhooks: {a: {type: standard, secret_env: A, fields: {subject: s, external_id: [a.b, 7]}}}",
        "1: webhooks.a.fields.external_id[1]: is a number to YAML",
    ),
    # routes
    ("routes: x.yaml", "1: routes: cannot read "),
    ("routes: 5", "1: routes: must be a mapping (category: destination) or a list of rules, not a number"),
    ("routes: {biling: https://x}", '1: routes.biling: no category "biling"; did you mean "Billing"?'),
    (
        "destinations:\n  billing: {type: file, path: x}\nroutes:\n- to: billing\n- to: billing\n- to: biling",
        '6: routes[2].to: no destination "biling"; did you mean "billing"?',
    ),
    ("routes:\n  Billing:\n  - https://x\n  - nope", '4: routes.Billing[1]: no destination "nope"'),
    ("routes: {Billing: []}", "1: routes.Billing: needs at least 1"),
    ("routes: {Billing: https://me:pw@x}", "1: routes.Billing: holds a user name or password"),
    (
        "categories: [a, {name: b, was: c}]\nroutes: {b: https://x, c: https://x}",
        '2: routes.c: "b" has a route already; "c" is the same category',
    ),
    ("routes: [{when: {}}]", "1: routes[0]: to is missing"),
    ("routes:\n- to: https://x\n  when:\n    category: Bill", '4: routes[0].when.category: no category "Bill"'),
    ("routes: [{to: https://x, when: {priority: hi}}]", '1: routes[0].when.priority: "hi" is none of low,'),
    ("routes: [{to: https://x, when: {customer_id: 7}}]", "1: routes[0].when.customer_id: is a number to YAML"),
    ("routes: [{to: https://x, when: {cat: a}}]", "1: routes[0].when.cat: unknown key"),
    (
        "routes: [{to: https://x, when: {extra: a}}]",
        '1: routes[0].when.extra: unknown key; did you mean "extra.COLUMN"',
    ),
    ("routes:\n- to: https://x\n  when:\n    extra.: a", "4: routes[0].when.extra.: unknown key"),
    (
        "routes:\n- to: https://x\n  when:\n    extra.seats: 5",
        "4: routes[0].when.extra.seats: is a number to YAML; quo",
    ),
    ("routes:\n- to: https://x\n  when:\n    extra.a b: []", "4: routes[0].when.extra.a b: needs at least 1"),
    (
        "routes: [{to: https://x, when: {verdict: [true]}}]",
        "1: routes[0].when.verdict: must be true or false, not a li",
    ),
    ("routes: [{name: x, to: https://x}, {name: x, to: https://x}]", '1: routes[1]: another rule is named "x"'),
    # webhooks
    (
        "webhooks:\n  d:\n    type: hmac\n    secret_env: S\n    fields: {subject: a}\n    header: 'X Y: z'",
        "6: webhooks.d.header: must be the name of an HTTP header: letters, digits and dashes, such as X-Signature",
    ),
    (
        'webhooks: {d: {type: hmac, secret_env: S, fields: {subject: a}, header: X-Y, timestamp_header: "X\\tT"}}',
        "1: webhooks.d.timestamp_header: must be the name of an HTTP header",
    ),
    ("webhooks: {d: {preset: slak, secret_env: S}}", '1: webhooks.d.preset: "slak" is none of front, github'),
    ("webhooks: {d: {preset: slack, secret_env: S}}", "1: webhooks.d: fields is missing"),
    ("webhooks: {d: {preset: slack, fields: {subject: a}}}", "1: webhooks.d: secret_env is missing"),
    (
        "webhooks: {d: {preset: github, secret: s3cr3t, secret_env: S, fields: {subject: a}}}",
        "1: webhooks.d.secret: secrets do not belong in this file; put it into the environment and name",
    ),
    ("webhooks: {d: {type: token, secret_env: S, fields: {subject: a}}}", "1: webhooks.d: header is missing"),
    (
        "webhooks:\n  d: {type: token, secret_env: S, fields: {subject: a}, header: X,\n      algorithm: sha1}",
        '3: webhooks.d.algorithm: means nothing to type "token" (only to hmac); remove it',
    ),
    (
        "webhooks: {d: {type: standard, header: X, secret_env: S, fields: {subject: a}}}",
        '1: webhooks.d.header: means nothing to type "standard" (only to hmac or token); remove it',
    ),
    (
        "webhooks: {d: {type: hmac, header: X, algorithm: md5, secret_env: S, fields: {subject: a}}}",
        '1: webhooks.d.algorithm: "md5" is none of sha1 or sha256',
    ),
    (
        "webhooks: {d: {type: hmac, header: X, encoding: hexa, secret_env: S, fields: {subject: a}}}",
        '1: webhooks.d.encoding: "hexa" is none of hex or base64; did you mean "hex"?',
    ),
    (
        "webhooks:\n  d: {type: hmac, header: X, secret_env: S, fields: {subject: a},\n      base: 'v0:{body}:{time}'}",
        "3: webhooks.d.base: takes no braces but {timestamp} and {body}",
    ),
    (
        "webhooks: {d: {type: hmac, header: X, secret_env: S, fields: {subject: a}, base: 'v0:{timestamp}'}}",
        "1: webhooks.d.base: needs {body} once: what is not signed proves nothing",
    ),
    (
        "webhooks: {d: {type: hmac, header: X, secret_env: S, fields: {subject: a}, base: '{timestamp}.{body}'}}",
        "1: webhooks.d.base: {timestamp} needs timestamp_header or timestamp_in",
    ),
    (
        "webhooks: {d: {type: hmac, header: X, secret_env: S, fields: {subject: a}, base: '{body}', timestamp_in: t}}",
        "1: webhooks.d.base: needs {timestamp}: a time that is not signed proves nothing",
    ),
    (
        "webhooks: {d: {preset: slack, secret_env: S, fields: {subject: a}, timestamp_in: t}}",
        "1: webhooks.d.timestamp_in: timestamp_header is given too; the time stands in one place",
    ),
    (
        "webhooks: {d: {type: hmac, header: X, secret_env: S, fields: {subject: a}, timestamp_in: t=}}",
        "1: webhooks.d.timestamp_in: must be the name before the = in the header, such as t",
    ),
    (
        "webhooks: {d: {type: hmac, header: X, secret_env: S, fields: {subject: a}, prefix: 'v0, '}}",
        "1: webhooks.d.prefix: blanks and commas stand between signatures, and in none of them",
    ),
    (
        "webhooks:\n  d: {preset: github, secret_env: S, fields: {subject: a},\n      when: {action: [opened, true]}}",
        "3: webhooks.d.when.action[1]: is a yes or no to YAML; quote it",
    ),
    (
        "webhooks: {d: {preset: github, secret_env: S, fields: {subject: a}, when: opened}}",
        "1: webhooks.d.when: must be a mapping (key: value), not text",
    ),
]
