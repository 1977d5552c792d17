"""What a message asks its reader to do next, in the command line's words; other faces have words of their own."""

from enum import StrEnum


class Step(StrEnum):
    """A command, an option or a phrase of the command line; the API has a request, a parameter or a phrase for each.

    A message names it by `f"{Step.RETRY_DEAD} tries again"`: so it can be stored and sent as a text.
    """

    LIST = "triage list shows"
    LIST_BY_STATUS = "triage list --status"
    RUNS = "triage runs lists"
    RUN_ID = "triage runs lists them with their ids"
    WHY = "triage why"
    REVIEW = "triage review"
    CLASSIFY_IT = "triage classify it"
    ROUTE = "triage route"
    RETRY_DEAD = "triage route --retry-dead"
    DECIDE_ANEW = "triage list --status routing --status undeliverable -o id | triage route -"
    RECLASSIFY = "triage reclassify"
    LEARN = "triage learn"
    CALIBRATE = "triage eval FILE --calibrate"
    KEYS = "triage keys list"
    AGAIN = "run the same command again"
    SAME = "the same command"
    GIVE_SOURCE = "give --source NAME"
    SAME_TICKETS = "--same-tickets"
    LABEL_COLUMN = "name the right column with --label"
    ROUTES_FILE = "send that with --routes FILE"
    DESCRIPTION_COLUMN = 'name one with --map description="COLUMN"'
    DESCRIPTION_NUMBER = "say which one does, by its number: --no-header --map description=N"
    EXTERNAL_ID_COLUMN = "with --map external_id=COLUMN"
    CUSTOMER_ID_COLUMN = "with --map customer_id=COLUMN"
    NO_ID = "write --map external_id= with nothing behind it"
    LINES = "if each line is a ticket, add --format lines"
    DELIMITER = "name it with --delimiter"
    KEPT_HEAD = "give --expect-head HASH or --heads FILE"
    ASK = "--ask"
    DEADLINE = "--deadline"
    LIMIT = "--limit"
    MAX_COST = "--max-cost"
    MAX_FLIPS = "--max-flips"
    MAX_WAIT = "--max-wait"
    NAME_WITH = "--name-with"
