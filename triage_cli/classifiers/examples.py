"""Example tickets of the default categories, all of them invented."""

from collections.abc import Sequence

from triage_cli.domain.tickets import Category

_BILLING = """
I was charged twice for the same month, please take one payment back
where is my refund? it's been two weeks since you said the money was on its way
Please send me the invoice for March as a PDF, our accounting needs it with the VAT number on it
my card was declined although there is enough money on it
How do I cancel my subscription so that it does not renew next month? I do not want to be billed again
The amount on my bill is higher than the price we agreed on. Can you explain the extra fee?
do you take paypal or bank transfer
What ways to pay do you accept besides credit card?
We were billed for 12 users but only have 9. Please correct the invoice and issue a credit note.
is there a charge if I cancel my order early
i want my money back, the item was never sent
There is a payment on my bank statement from your company that I do not recognise. I never authorised this transaction.
Hello, our purchase order number is missing on the last invoice. Finance will not pay until it is there. Kind regards
Can I switch from monthly to annual billing, and what would it cost?
your price went up without telling me!! why is my premium suddenly 20 euros more
I need a receipt for my purchase, where can I download it
the discount code was not applied and I paid the full price
Payment failed three times at checkout, was I charged or not?
I returned the shoes last week, when will the purchase price be credited to my card?
Late fee on my account: I paid the statement on time by direct debit, please waive it
what is your refund policy, and how long do I have to get reimbursed
update the billing details: new credit card and a new company address for invoices
Our free trial ended and $49 was taken from my account though I cancelled. Please reverse the charge.
The tax on this quote looks wrong, we are VAT exempt
how much is the fee for ending the contract before its term
could u check the status of the refund for my claim, the deductible was charged to me by mistake
I cannot pay the whole balance at once, is a payment plan with instalments possible?
overcharged for roaming on my phone bill, i was at home the whole month
where can i look up old bills and what I paid last year
"""

_TECHNICAL = """
I can't log in, it says my password is wrong although I just reset it
app crashes every time I open it since the last update
The website is down, we only get a 500 error. Several customers are affected, please treat as urgent.
the password reset email never arrives so i cannot get into my account
Our API calls have been timing out since this morning. Response: 504 Gateway Timeout.
Dear support, the export to Excel makes an empty file. Steps: open the report, export, choose xlsx. I use Firefox.
internet keeps dropping every few minutes, i have restarted the router already
Pages take more than thirty seconds to load; everything has been terribly slow for days
The two-factor code is not accepted, I am locked out
printer on the second floor shows offline and will not print from my laptop
We cannot connect the integration with our CRM: the sync stops with 'invalid token'
my screen stays black after the windows update
VPN disconnects right after connecting, error 809
Getting an error message when I try to register, the sign-up form does not submit
forgot my username and password, how do I recover access
Bug: when I sort the table by date the order is wrong, and the search returns no results
no signal on my phone since yesterday, is there an outage in my area?
The webhook is no longer delivering events and our logs show SSL handshake failures
outlook won't open, keeps freezing and says not responding
I hit a glitch while making a new account: the page hangs at the last step
the upload gets stuck at 99% and then fails
Need the latest driver installed, the docking station does not detect my second monitor
Data from the sensor is missing in the dashboard after we upgraded to version 4.2
Push notifications stopped working on android
Server ran out of disk space and the backup job failed last night
The button on the page does nothing when I click it, tried chrome and safari
i get kicked out of the mobile banking app and have to sign in again and again
Please reset the password for my user, I have forgotten it and the account is locked
The device does not turn on any more, the battery seems broken and the LED blinks red
Possible security problem: unknown logins to our system and a suspicious e-mail with a virus attached
"""

_GENERAL = """
where is my package? it should have been here on Monday
I would like to change the delivery address of my order before it is shipped
What are your opening hours on Saturday?
how do i talk to a real person, i need to speak with an agent
I want to make a complaint about the rude service in your shop
Just wanted to say thank you, Anna from your team was great!
Please take me off your newsletter, I don't want these mails any more
can i add another item to my order or swap one for a different size
I'd like to cancel the order I placed this morning, I bought the wrong colour
Hello, we are a reseller from Portugal and would be interested in a partnership. Whom may we contact?
Do you deliver to Norway and how long does shipping take?
It would be nice to have a dark mode. Please consider it as a suggestion for a future version.
I have moved, please update my postal address and phone number
how can I delete my account and all the data you hold about me
How do I open an account for my company and what documents do you need?
Is this product suitable for children and is it available in blue?
what's your phone number
Could you send me the brochure and some information on your courses for next year?
track my order please
I want to leave a review, where can I give feedback about my purchase?
Do you have any jobs open? I am attaching my CV.
I need a copy of my insurance policy and want to add my wife as a second driver
Question: how do I invite a colleague to our workspace and what does each role mean?
my parcel arrived damaged and one thing is missing from the box
Change the name on my profile, I got married
I'd like to book an appointment with an adviser next week
sign me up for the newsletter
Where is your nearest store or branch?
how do I create a second account, or upgrade mine to the premium plan
Which warranty comes with the device, and where do I find the manual?
Request for leave: who approves holidays and where do I find the form?
"""

_BUILT_IN = {
    name: tuple(block.strip().splitlines())
    for name, block in (("billing", _BILLING), ("technical", _TECHNICAL), ("general", _GENERAL))
}


# Beside a category with only a description, more examples would draw its tickets away (measured: a share of 0.57 to
# 0.88 of sure answers was right with all examples, 0.78 to 0.93 with these).
_BESIDE_BARE = 8


def examples_of(categories: Sequence[Category]) -> list[tuple[str, ...]]:
    """Return the examples of each category: its own, or the built-in ones of a default category."""
    found = [c.examples or _BUILT_IN.get((c.root or c.name).casefold(), ()) for c in categories]
    if all(found):
        return found
    return [category.examples or built_in[:_BESIDE_BARE] for category, built_in in zip(categories, found, strict=True)]
