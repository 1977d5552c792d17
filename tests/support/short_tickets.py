"""Short tickets as people write them, and what happens to them later: a reply, a mask over names, a cut, a typo."""

import random
import re
from collections.abc import Callable, Mapping

Text = tuple[str, str]  # subject and description

TEXTS: tuple[Text, ...] = (
    ("Cannot log in", "Since this morning the login page says that my password is wrong, though I changed nothing."),
    ("Charged twice", "You took 49.90 from my card on 3 May and again on 4 May. Please send one of them back."),
    ("App crashes", "The app closes itself when I open the camera. Phone: Pixel 7, version 14."),
    ("Where is order 88123?", "It was to arrive on Monday, and the tracking page has not moved since."),
    ("Invoice for March", "Could you send me a copy of the invoice with our VAT number on it?"),
    ("error 500 on save", "Saving a project fails with error 500 since the last update, in Chrome and in Firefox."),
    ("Cancel my subscription", "I do not need it any more. Please cancel at the end of the month and confirm by mail."),
    ("Printer on floor 3", "It only prints blank pages. We already changed the toner. Ask for Jonas Weber."),
    ("Wrong size", "I ordered the jacket in M and got XL. Can I swap it in your shop in Graz?"),
    ("Reset link", "The mail with the reset link never comes, not even as spam. I am m.rossi@shop.example"),
    ("VPN drops", "Every ten minutes the connection drops and all drives are gone. Working from home, Windows 11."),
    ("Refund still missing", "You promised the refund within five days. That was two weeks ago, case 20931."),
    ("New laptop", "Anna Keller starts on 1 June and needs a laptop, a phone and access to the shared drive."),
    ("Slow website", "Pages take half a minute to load in the evening. Other sites are fine."),
    ("Change of address", "We are moving. New address from July: Hauptstrasse 5, 8010 Graz. Please note it."),
    ("export is empty", "The CSV export of last quarter has a header and no rows. On screen there are 1,204 rows."),
    ("Card refused", "Your shop refuses my Visa card. The bank says that nothing reached them."),
    ("Two-factor code", "My old phone is broken, so I get no codes. How do I move the app to the new one?"),
    ("Opening hours", "Are you open on the public holiday next Thursday?"),
    ("Discount code", "SPRING25 is refused at the checkout as 'not valid for these items'. It says for all."),
    ("Broken on arrival", "The lamp came in pieces, pictures attached. I want a new one, no voucher."),
    ("Calendar sync", "Meetings that I accept in the web are missing on my phone until the next day."),
    ("Data protection", "Which data do you keep about me? Please answer within the time that the law gives."),
    ("Wifi in the canteen", "No connection in the canteen since the new access points, laptop and phone alike."),
    ("Upgrade to Pro", "What happens to our projects if we go from Basic to Pro in the middle of the month?"),
    ("mailbox is full", "I cannot send any more: quota exceeded. Please raise it or tell me how to archive."),
    ("Delivery to the wrong house", "The driver left the parcel with somebody called Mayer whom nobody here knows."),
    ("Feature request", "It would help us to sort the list by due date, not only by name."),
    ("Licence expired", "All seats show 'licence expired' today, although we paid in January, invoice 4711."),
    ("Sound is gone", "In video calls nobody hears me. The headset works with music."),
    ("Newsletter", "I unsubscribed three times and still get it every Friday."),
    ("Missing part", "The shelf came without the bag of screws. Order 77120, article 330."),
    ("API limit", "We get 429 after forty requests a minute, the contract says one hundred."),
    ("Duplicate account", "I have two accounts, one by Google and one by mail. Can you join them and keep the orders?"),
    ("Parking permit", "My badge does not open the garage. It did last week. Number 5582."),
    ("Payment by invoice", "Can a school pay by invoice instead of by card? Who do we send the form to?"),
    ("Spanish version", "Is the manual for the coffee machine there in Spanish too?"),
    ("Screen flickers", "The second monitor flickers when the laptop is on battery."),
    ("Job application", "I sent my documents in April and heard nothing. Is the post still free?"),
    ("Gift card", "The gift card that my aunt gave me has a balance of zero, and it is unused."),
    ("cannot upload", "Uploading a photo bigger than two megabytes ends with a red bar and no message."),
    ("Time sheet", "Overtime of February is not in my time sheet, my boss Petra Novak has signed it."),
)  # fmt: skip

_REPLIES = (
    "Hello, thank you for writing. We look into it and come back to you within two working days.",
    "Done, please try again.",
    "Any news? This is urgent by now, our whole office is waiting.",
    "Dear customer, we have refunded the amount. It may take five days until you see it. Best regards, Maria",
    "Internal note: with second level, see INC-20931.",
)


def _replied(text: Text, chance: random.Random) -> Text:
    replies = "\n\n".join(chance.choice(_REPLIES) for _ in range(chance.randint(1, 4)))
    whole = f"{replies}\n\n{text[1]}" if chance.random() < 0.3 else f"{text[1]}\n\n{replies}"
    return text[0], whole


def _anonymised(text: Text, chance: random.Random) -> Text:
    mask, share = chance.choice(("[NAME]", "***", "XXXX", "<redacted>")), chance.choice((0.0, 0.1, 0.2))

    def masked(field: str) -> str:
        words = field.split(" ")
        personal = [bool(re.search(r"\d|@", w)) or (n > 0 and w[:1].isupper()) for n, w in enumerate(words)]
        return " ".join(mask if p or chance.random() < share else w for p, w in zip(personal, words, strict=True))

    return masked(text[0]), masked(text[1])


def _cut(text: Text, chance: random.Random) -> Text:
    length = max(20, int(len(text[1]) * chance.choice((0.3, 0.5, 0.8))))
    return text[0], text[1][:length] + chance.choice(("", "…", " [truncated]"))


def _mistyped(text: Text, chance: random.Random) -> Text:
    letters = list(text[1])
    for _ in range(max(1, len(letters) // chance.choice((25, 50, 100)))):
        place = chance.randrange(len(letters))
        letters[place] = chance.choice(("", letters[place] * 2, chance.choice("aeinrst")))
    return text[0], "".join(letters)


# Each makes an honest edit of a ticket's text.
EDITS: Mapping[str, Callable[[Text, random.Random], Text]] = {
    "replied": _replied, "anonymised": _anonymised, "cut": _cut, "mistyped": _mistyped,
}  # fmt: skip
