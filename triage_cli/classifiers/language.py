"""Does a text seem not to be English, the only language the embedded model reads? Told word by word.

A word leans to English or away from it by lists of common words and by its letters; what is both, or neither, leans
nowhere. That guards against being sure of what was not understood; it is no detector of languages.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.words import AROUND

WORDS_A_LEAN = 4  # a text is foreign that leans away from English by one for each so many of its distinct words
PLAINLY = -6  # or by so much altogether

# Function words that no other language here has.
_ENGLISH = """
about after again always and another any anyone anything aren't around away back because been before being below both
can't cannot could couldn't did didn't does doesn't doing don't done each either else every everything few first from
get gets getting given got hasn't haven't having here him his how however i'd i'll i'm i've instead into isn't it's
its just keep keeps know look made make many maybe might much must myself need needed needs never new nothing now once
only other our own please put really say says see seems sent she should since some someone something soon still stop
such sure take than thank thanks that that's the their them then there these they thing things this those though
through today told tomorrow too took tried try trying until use used using very wait waiting wanted wants wasn't we're
we've well went were what what's when where whether which while who whole whose why with within without won't work
working works would wouldn't wrong yes yesterday yet you you're you've your yours
"""
# Words that other languages may have too, or that a ticket has beside none of the above.
_RATHER_ENGLISH = """
access address are bill billed booking broken but can cancel cancelled change charge charged charges claim close
closed company complaint confirm crashes credit customer damaged dealer delayed delivered delivery details discount
document expired failed failing fails fee fees fix flight for freezes have hello help hi hours i if invoice issue
issues item items keyboard late loan locked lost meeting missing money month monthly more mouse my night not of off
office opening order out package paid parcel pay payment phone purchase question rates receipt receive received refund
refunded rejected remove renew reply request resolve return returned room screen send shipped shipping shirt signed
slow statement stopped store stuck tire to twice unable useless wallet we week
"""
# Function words, and words of tickets, that are no English words: German, French, Spanish, Italian, Portuguese, Dutch,
# Polish and Swedish, then Danish, Norwegian, Finnish, Czech, Romanian, Turkish, Hungarian and others.
_OTHER = """
aber abgebucht abo adresse alle alles als anfrage angezeigt anmelden anmeldung antwort auch auf ausfall außerdem
beheben behoben bei beim bekomme bereits beschädigt bestellnummer bestellt bestellung betrag bezahlt bis bitte brauche
danke dann dass datei daten defekt denn deutsch dich diese diesem diesen dieser dieses doch dringend dringende
dringendes drucker druckertreiber druckt durch ein eine einem einen einer eines einfach einloggen entfernen
erforderlich erhalten erneut erst etwas euch falsch falsche fehlen fehler fehlermeldung fehlt feststellen frage
freundliche freundlichen fuer funktionieren funktioniert ganz geehrte geehrter geht gekauft gekündigt geld geliefert
gerne geschlossen gesperrt gestern grüße grüßen guten habe haben hallo herren heute hier hilfe hochladen ich ihnen ihr
ihre ihrem ihren ihrer immer integrationsproblem ist jetzt kann kannst kaputt kein keine keinen koennen kommt konnte
kontakt konto kosten kreditkarte kritisch kritischer kunde kunden kundennummer kundenservice können könnten kündige
kündigen kündigung langsam lastschrift leider lieferadresse lieferung lädt löschen machen mahnung mehr mein meine
meinem meinen meiner mich mir moechte muss möchte möchten möglich müssen nach nein netzwerk netzwerkprobleme nicht
nichts noch nur ohne paket passwort probleme rechnung rechnungen reklamation rückerstattung rückgabe rückmeldung schon
schwierigkeiten sehr sein seine seit sendung serverausfall sich sie sind sofort soll sollte sondern startet steht
stornieren storniert stornierung synchronisationsprobleme täglich ueber uhr umtausch umtauschen und uns unser unsere
unserem unseren unter unterstützung verbindung verbindungsprobleme verfügbar vergessen verloren versand verschiedene
versucht vertrag viel vielen vom vor vorfall wann warum wegen weil wenn werde werden widerruf wie wieder wir wird
wurde wurden würde zahlung zu zugang zugriff zum zur zurueck zurück zurücksetzen zwei zwischen öffnungszeiten über
abonnement alors annulation annuler après aucun aucune aujourd'hui aussi autre avant avec avez avoir avons besoin bien
bloqué bonsoir carte cassé cela ces cette chez colis commande comme compte connecter cordialement dans demande depuis
dernier deux doit donc elle encore erreur facturation facture facturé faire fait faut fermeture fichier fois
fonctionne grâce horaires ici identifiant ils imprimante jamais je jour jours leur livraison livré livrée lors lorsque
lui mais mes modifier moi mois montant mot même notre nous numéro oublié ouvrir où paiement panne parce pas passe peut
peux plusieurs pourquoi pouvez pouvoir problème problèmes puis quand quel quelle quelqu'un quels qui quoi refusé
refusée remboursement rembourser remboursé requise retard reçu reçue rien résilier ses sont souhaite suis sur toujours
tous tout toute trop très télécharger une utiliser veuillez veux voici voir vos votre voudrais vous échange était été
être
abrir actualización actualizar ajustes algo alguien algunas algún antes aplicación aquí archivo asistencia aunque ayer
ayuda año años bloqueada bloqueado bloqueó cada cambiar cancelar carga cerrar cliente cobrado como compra comprar
conectividad contacto contraseña contraseñas correo correos cual cuando cuenta cuentas cuál cuándo cómo dar datos deja
descarga descargar descargas desde después devolución devolver dinero dirección donde día días dónde ejemplo eliminar
ellos enlace entonces enviar envío esa ese eso esta estaba estas este esto estos estoy está están extensión factura
facturación fue funciona funcionan guardar haber había hace hacer hasta importe imposible impresora incidente
incorrecto instalar lenta lento llegó marcadores mediante mensaje mismo muchas mucho muy más navegador necesito ningún
nosotros nuestra nuestro nuevamente nuevo nunca olvidé otra otro pagar pago para pedido pero pestañas plazo pongo por
porque precio problemas puede pueden puedo página páginas pérdida querido quien quiero quise quisiera qué rechazada
recibido recibir recuperar reembolso requerida restaurar seguridad servicio sesión sido siempre sobre solicito
solicitud sus suscripción sí tal también tampoco tarjeta teléfono tengo tiempo tiene tienen todas todavía todo todos
una unas uno unos urgente usar usted usuario veces ventana versión vez
abbiamo accede accedere accesso aggiornamento aggiornare agli alcune alcuni alla allo altri altro anche ancora
annullare apertura aprire assistenza avere avete aveva avrei avvio bene blocca bloccato buon buonasera buongiorno
cambiare cancellare cancellato carica caricamento caricano carta cerca che chiedo cliccando collegamento consegna
contratto cosa così cui dai dal dalla dalle dati degli dei della delle dello dimenticata disdire dopo errore essere
estensione fatto fattura fatturazione finestra fino fra funziona funzionano funzioni già gli grazie hanno ieri
immagini impossibile indirizzo installare loro mese messaggi messaggio miei mio molto navigazione nei nel nella nelle
nessun nessuna niente noi nostro nulla oggi ogni orari ordine pacco pagamento pagina pagine perché però più poi
possibile posso preferiti problema prodotto può qual qualcuno quale quali quando quanto quello questa queste questi
questo quindi recesso recuperare reimposto restituire ricevuto riesco rimborso risolvere rotto salve sbagliata
sbagliato scaricare scheda schede segnalibri sei sempre senza servizio sia sito sono spedizione sta stampa stampante
stampare stata stato stesso sua sul sulla suo tra tutte tutti tutto utente utenti utilizzare utilizzo vedo versione
viene visualizza visualizzare voglio volte vorrei vostra vostro è
acessar acesso agora ainda ajuda algum alguma alguém além ao aos apenas aplicativo aqui arquivo assim assinatura
atendimento atualização até boa boleto bom cancelamento cartão cobrança comprei conectividade consigo consulta conta
depois desculpe desempenho devolução dia dias dinheiro dois duas ela ele eles endereço enquanto entrega então errado
erro esqueci essa esse estava estou estão falha fatura fazer fecha foi foram fui gostaria hoje há impressora
interrupção isso isto já lá meia mesma mesmo meu meus minha minhas muito muitos nem nenhum nossa nosso novo num numa
não obrigada obrigado olá onde ontem outra outro papel pela pelo pelos pessoal pode podem poderia pra preciso prezada
prezado produto qualquer quebrado quem quero recebi recebido rede relato restituição roteador seja sem senha seu seus
sistema solicitação sou suas suporte são só também tenho ter teve tive trabalho tudo uma valor vezes você vocês é
aan aangekomen aanvraag adres afgeschreven alleen altijd andere annuleren bedankt bedrag bestand beste bestelde
bestelling betaald betaalde betaling bezorgadres bezorgd bezorging bij binnen daar dank deze dit doen doet doorgeven
een eens eerst factuur factuurnummer fout foutmelding gaan gaat geannuleerd geen geleverd geweigerd gewoon goed
goedemiddag goedendag graag groet haar heb hebben hebt heeft helaas het hij hoe hulp iemand iets ik ingelogd inloggen
jij jouw jullie kan kapot keer klant klantenservice klantnummer klopt kopie krijg krijgen kunnen kunt leveren levering
lukt maand maar meer meteen mij mijn mislukt moet moeten morgen naar niet niets nieuwe niks nodig nog nooit ontvangen
onze ook openingstijden opnieuw opzeggen pakket pakketje probeer rekening retourneren sinds steeds tegen terug
terugbetaling teruggestort toch traag tussen twee uit uw vandaag vanmorgen veel verder vergeten verkeerd verkeerde
verlengen verzonden voor vraag vragen waar waarom wachten wachtwoord wanneer waren webshop weer weet wel werken werkt
wij wijzig wijzigen wil willen wilt worden wordt zal ze zeer zelf zich zij zijn zo zonder zou
aby adresu albo anulować aplikacja bardzo bez brak być był była było będzie błąd błędna chciałabym chciałbym chcę
ciągle czas czy dla dlaczego dobry dostawa dostawy dostałem dotarła drukarka drukarki drukuje dwa działa dzień
dziękuję dziś faktura faktury fakturze gdy gdzie hasła hasło ile innych jak jaki jakich jakie jako jednak jego jej
jest jestem jeszcze jeśli już karta kartą kiedy klienta koncie konta kopii kto która które który kwota logowania
logowanie lub mam mnie mogą mogę moim moja moje mojego może można mój nad nadal naprawić nasz nie niestety nigdy nim
numer od odebrać odrzucona opłata opłaty oraz otrzymałem otwiera paczka pani pieniądze pieniędzy plik pliku pobrano
podczas pomoc pomocy ponieważ potrzebuję poza pozdrawiam problemy prosze proszę przed przelew przesyłka przez przy
płatności reklamacja rezygnacja roku serwis się sklep strona strony są także tam tego tej temu też towar tych tylko
tym uszkodzony wczoraj witam więc wolno wpłaty wszystko wymiana wysyłki wyłącza za zalogować zamówienia zamówienie
zamówieniem zapomniałem zapłaciłem zepsuty zgłoszenie zmienić został została zostało zwrot zwrotu żadnej że żeby
abonnemang adress adressen allt andra appen att avbeställa avsluta bara behöver beloppet beställde beställning betala
betalning betalningen betalt bli blir blivit byta denna det detta ditt dragit då efter eftersom ej eller ett fakturan
fakturor fel felaktig felmeddelande finns fram fråga från fungerade fungerar får fått för genom glömt går gör göra
hade hej hemsidan hjälp hjälpa hos hur hälsningar här idag igen igår ihop inga ingen inget inloggad inte jag
jättelänge kommer kontot kort kortet kraschar kund kundtjänst kvar kvitto köpte laddar leverans leveransadress
leveransen levererad logga långsam lösenord lösenordet medan mellan mer mig mina mitt mottagit mycket nej nekades nya
när någon något några och också oss paketet pengar pengarna prenumeration på saknas sida sidan sig sina ska skickat
skrivaren skulle snälla som startar ställa står så tack tillbaka trasig två upp uppdatera uppsägning utan vad vara
varan varför varit vem vilka vill väldigt vår är återbetalning öppettider
adgangskode això akun amb apa belum benim bir bisa blev bliver bună bych byl bylo comanda contul csak când có của dacă
dari dengan dere değil dobrý děkuji egy ei estic että fikk fordi fost fået giriş gràcies hala hei henüz hesabım
hesabıma heslo hilsen hogy hol hvad hvor hvordan hvorfor hàng iade ikke ikkje ini innlogging itu için jeg jelszó jeres
jos jsem jsou jste kargo kasih kde když kenapa khoản không kiitos kirjautua koden kommet kontoen kun kérem köszönöm
lasku leveret là lütfen mangler merhaba meva mikor miksi minun missä miten miért mohon mulțumesc mutta myös már még
můj nasıl nebo neden nejde nekem nemohu nemůžu není nettside niin nincs noe noen nogen noget này når objednávka og
også olen oli onko ordre parola passord penge pentru pesanan problemer prosím proč puc pääse přihlásit regning
rendelés saanut saya sidste sipariş siparişim skal sudah sunt szeretnék számla să takk také teidän terima teşekkürler
tidak tilaus tilini toimi tolong tudok tài tôi untuk už vagy venlig vennligst virker voi và være været vă yapamıyorum
yok zaman zboží ziua çok és ödeme účet účtu đơn được şifre že și
"""
# The same, but met in English texts too, mostly in names.
_RATHER_OTHER = """
bonjour buenas buenos ce ciao con da das de del dem der des di du el en er es est et gracias hola hoy il ja la las le
les lo los marche merci mi mit nada non ob oder ons ou par que se su te tu um un van ver von wo
"""
# English words with letters that English has not.
_BORROWED = """
appliqué attaché beyoncé brûlée café cafés chloé citroën cliché clichés crème d'amico d'angelo d'arcy d'costa
d'or d'souza décor déjà entrée exposé façade fiancé fiancée jalapeño josé l'oreal l'oréal lancôme michèle naïve
nestlé née piñata pokémon protégé pâté renée résumé résumés señor soufflé touché van't vis-à-vis zoë à
"""
_LEANS = {
    word: lean
    for words, lean in ((_ENGLISH, 2), (_RATHER_ENGLISH, 1), (_OTHER, -2), (_RATHER_OTHER, -1), (_BORROWED, 0))
    for word in words.split()
}
_ELIDED = re.compile(r"(?:[cdjlmnst]|qu|un|d?all|dell|nell|sull|dov|com|quest|quell)'[^\W\d_]{2,}")
_ENDING = re.compile(
    r".{3,}(?:keit|lich|schaft|ieren|iert|zione|zioni|idad|idade|ciones|mente|heden|igheid|elijk|elijke|ijke)"
    r"|.{5,}(?:ung|ungen|problem|probleme|fehler|anfrage|ausfall)"
)
# Letters of other scripts; those that mathematics or fancy writing makes of Latin ones are not among them.
_SCRIPTS = re.compile(
    "[\u0370-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff\u2e80-\ua63f\ua640-\ua6ff\ua800-\uab2f\uab70-\ufaff"
    "\ufb13-\ufdff\ufe70-\ufefc\uff66-\uffdc\U00010000-\U0001cfff\U0001e800-\U0001efff\U00020000-\U0003ffff]"
)
_ACCENTED = re.compile("[\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_QUOTES = AROUND + "«»„“”‘’‹›¿¡…–—"


def leaning(word: str) -> int:
    """Return how much a lower-case word leans to English; below zero, away from it."""
    said = word.strip(AROUND)
    if not said.isascii():
        said = word.replace("’", "'").strip(_QUOTES)
    said = said.removesuffix("'s")
    lean = _LEANS.get(said)
    if lean is not None:
        return lean
    if _SCRIPTS.search(said) or ("'" in said and _ELIDED.fullmatch(said)):
        return -2
    return -1 if _ACCENTED.search(said) or _ENDING.fullmatch(said) else 0


def foreign(leans: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of texts whether they seem not to be English, from their words' leanings together and their number."""
    return (leans < 0) & ((-WORDS_A_LEAN * leans >= words) | (leans <= PLAINLY))


def share_foreign(texts: Sequence[Sequence[str]]) -> float:
    """Return the share of texts, each as its words, that seem not to be English; 0 of none."""
    leans = np.array([sum(map(leaning, words)) for words in texts], np.int64)
    return float(foreign(leans, np.array([len(words) for words in texts])).mean()) if texts else 0.0
