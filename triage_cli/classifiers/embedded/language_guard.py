"""Detects texts that seem not to be English, the only language that the embedded model reads.

Each word leans to English or away from it, by lists of common words and by its letters. The guard prevents sure answers
about texts that were not understood; it does not identify languages.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.tokens import PUNCTUATION

WORDS_PER_LEANING = 4  # a text is foreign if its leaning is at most -1 per so many distinct words
PLAINLY_FOREIGN = -6  # or if its leaning is at most this

# Function words that are in no other of these languages.
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
# Words that are in other languages too, or in tickets without any of the above.
_RATHER_ENGLISH = """
access address are bill billed booking broken but can cancel cancelled change charge charged charges claim close
closed company complaint confirm crashes credit customer damaged dealer delayed delivered delivery details discount
document expired failed failing fails fee fees fix flight for freezes have hello help hi hours i if invoice issue
issues item items keyboard late loan locked lost meeting missing money month monthly more mouse my night not of off
office opening order out package paid parcel pay payment phone purchase question rates receipt receive received refund
refunded rejected remove renew reply request resolve return returned room screen send shipped shipping shirt signed
slow statement stopped store stuck tire to twice unable useless wallet we week
"""
# Function words and words of tickets that are not English: German, French, Spanish, Italian, Portuguese, Dutch,
# Polish and Swedish, then Danish, Norwegian, Finnish, Czech, Romanian, Turkish, Hungarian and others.
_FOREIGN = """
aber abgebucht abgelaufen abgelehnt abo abrechnen adresse alle alles als anfrage angeblich angebot angezeigt anmelden
anmeldung antwort artikel auch auf ausfall ausgefallen ausschalten außerdem bankverbindung beheben behoben bei beim
bekomme bereits beschwerde beschädigt bestellnummer bestellt bestellung betrag bezahlt bildschirm bis bitte brauche
büro danke dann dass datei daten defekt denn deutsch dich dienst diese diesem diesen dieser dieses doch dringend
dringende dringendes drucken drucker druckertreiber druckt durch ein eine einem einen einer eines einfach einloggen
einlösen einrichten einstellung einstellungen entfernen erforderlich erhalten erneut ersatz ersatzteil erst etwas euch
falsch falsche fehlen fehler fehlermeldung fehlt feststellen frage freundliche freundlichen fuer funktionieren
funktioniert ganz gebühr gebühren geehrte geehrter geht gekauft gekündigt geld geliefert gerne gerät geräte
geschlossen gesperrt gestern grüße grüßen guten gutschein gutschrift habe haben hallo heizung herren herunterladen
heute hier hilfe hochladen ich ihnen ihr ihre ihrem ihren ihrer immer installieren integrationsproblem ist jetzt kabel
kann kannst kaputt karton kaufen kein keine keinen koennen kommt konnte kontakt konto kosten kreditkarte kritisch
kritischer kunde kunden kundennummer kundenservice können könnten kündige kündigen kündigung langsam lastschrift
laufzeit leider lieferadresse lieferung lädt löschen machen mahnung mehr mehrere mein meine meinem meinen meiner mich
mir moechte monat monatlich montag muss möchte möchten möglich müssen nach nein netzwerk netzwerkprobleme neue neuen
neues nicht nichts noch nummer nur ohne paket passwort preis probleme rabatt rabattcode rechnung rechnungen
reklamation reparatur rückerstattung rückgabe rückmeldung schicken schon schwierigkeiten sehr sein seine seit senden
sendung sendungsnummer serverausfall sich sie sind sofort soll sollte sondern speichern startet steht stimmt
stornieren storniert stornierung störung synchronisationsprobleme tage tagen telefon termin täglich ueber uhr umtausch
umtauschen und ungültig uns unser unsere unserem unseren unter unterstützung verbindung verbindungsprobleme verfügbar
vergessen verloren verlängern verlängerung versand verschickt verschiedene versucht vertrag viel vielen vom vor
vorfall wann wartung warum wegen weil wenn werde werden widerruf wie wieder wir wird woche wochen wurde wurden würde
zahlung zu zugang zugangsdaten zugriff zum zur zurueck zurück zurücksetzen zwei zwischen ändern änderung öffnen
öffnungszeiten über
abonnement abîmé achat acheter alors annulation annuler appareil appeler après argent aucun aucune aujourd'hui aussi
autre avant avec avez avoir avons bancaire besoin bien bloqué bonsoir bouton carte cassé cassée cela ces cette
changement chez clavier colis commande commandé comme compte connecter contrat cordialement courriel courrier dans
demande depuis dernier deux doit donc débité délai démarre désabonner elle encore envoyer envoyé erreur espace expiré
facturation facture facturé faire fait faut fermer fermeture fichier fois fonctionne fonctionner frais gratuit grâce
horaires ici identifiant identifiants ils imprimante imprimer invalides jamais je jour jours lenteur leur livraison
livré livrée logiciel lors lorsque lui mais manque mauvais mauvaise mensuel mes mettre modifier moi mois montant
montre mot même notre nous nouveau nouvelle numéro ordinateur oublié ouvrir où paiement panier panne parce pas passe
perdu peut peux plusieurs pourquoi pouvez pouvoir problème problèmes prolonger prélevé prélèvement puis quand quel
quelle quelqu'un quels qui quoi rappeler recevoir refusé refusée remboursement rembourser remboursé rendez-vous
renouveler requise retard retourner reçu reçue rien réclamation réduction réparation réseau résilier ses signaler sont
souhaite suis supprimer sur taille tarif toujours tous tout toute trop trouver très télécharger téléphone une utiliser
veuillez veux virement voici voir vos votre voudrais vous vérifier échange écran était éteint été être
abono abrir activar actualización actualizado actualizar agua ajustes algo alguien algunas algún almacén altas antes
anular apagado apagar aparato aplicación aquí archivo asistencia aunque averiado avería ayer ayuda año años bloqueada
bloqueado bloqueó botón cada caja calidad cambiar cambio cancelar carga cargos cerrar cliente cobrado cobran cobro
comisiones como compra comprar computadora conectividad conexión contacto contraseña contraseñas contratar contrato
corregir correo correos cual cuando cuenta cuentas cupón cuál cuándo cómo dar datos dañado defectuoso deja demasiado
descarga descargar descargas descuento desde después devolución devolver devuelto dinero dirección donde día días
dónde ejemplo eliminar ellos enlace entonces entregado enviado enviar envíen envío equivocada equivocado esa ese eso
esta estaba estas este esto estos estoy está están extensión factura facturación falta faltan fue funciona funcionan
guardar haber había hace hacer hasta importe imposible impresora imprimir incidente incorrecto instalar inválidas
lenta lento llegó mandar marcadores mediante mensaje mismo molesto muchas mucho muy más móvil navegador necesito
ningún nosotros nuestra nuestro nuevamente nuevo nunca número oferta olvidé ordenador otra otro pagar pago pantalla
para pedido pedidos perdido pero pestañas piden plazo pongo por porque precio problemas prueba puede pueden puedo
página páginas pérdida querido quien quiero quise quisiera quitar qué rechazada recibido recibir recibo reclamación
recuperar reembolso renovar reparación requerida restaurar retraso saldo seguridad servicio sesión sido siempre sigue
sobre solicito solicitud sus suscripción sí tal también tampoco tarde tarjeta teclado teléfono tengo tiempo tienda
tiene tienen todas todavía todo todos una unas uno unos urgente usar usted ustedes usuario veces ventana versión vez
abbiamo abbonamento accede accedere accesso acquistare acquisto aggiornamento aggiornare aggiornato agli alcune alcuni
alla allo altri altro anche ancora annullare apertura appuntamento aprire assistenza attesa attivare attivazione avere
avete aveva avrei avvio bene blocca bloccata bloccato bolletta bonifico buon buonasera buongiorno buono calcolatrice
cambiare cancellare cancellato carica caricamento caricano carta cerca che chiamare chiedere chiedo cliccando
collegamento colli commissioni comprare connessione consegna consegnato contratti contratto cosa così credenziali cui
dai dal dalla dalle danneggiato dati degli dei della delle dello difettoso dimenticata disdetta disdire dopo errata
errato errore essere estensione fatto fattura fatturazione fatture finestra fino fra funziona funzionano funzioni
garanzia già gli gratuito grazie guasto hanno ieri immagini impossibile indirizzo installare inviare inviato linea
loro manca mancano mese messaggi messaggio miei mio molto navigazione negozio nei nel nella nelle nessun nessuna
niente noi nostro nulla nuova nuovo offerta oggi ogni orari ordinato ordine pacco pagamento pagare pagato pagina
pagine perché perso però più poi possibile posso preferiti prezzo problema prodotto prova può qual qualcuno quale
quali quando quanto quello questa queste questi questo quindi recesso reclamo recuperare reimposto restituire rete
riavviare ricevere ricevuto richiedere richiesta riesco rimborso rinnovo riparazione risolvere ritardo rotto salve
sbagliata sbagliato scaduta scaduto scaricare scatola scheda schede schermo sconto segnalibri sei sempre senza
servizio sia sito soldi sono spedito spedizione sta stampa stampante stampare stampe stata stato stesso sua sul sulla
suo tastiera telefono tra tutte tutti tutto utente utenti utilizzare utilizzo valide vecchio vedo versione viene
visualizza visualizzare voglio volte vorrei vostra vostro è
aberto acessar acesso agora ainda ajuda algum alguma alguém alterar além ao aos aparelho apenas aplicativo aqui
arquivo assim assinatura atendente atendimento atrasado atraso atualização até aviso boa boleto boletos bom botão
caixa cancelada cancelado cancelamento cartão cobrança cobraram comprado comprei computador conectividade conexão
consigo consulta conta crédito cupom danificado defeito demora demorando depois desconto desculpe desempenho desligar
devolução dia dias dinheiro dois duas duplicada ela ele eles encomenda endereço enquanto entrega entregue então enviei
errada errado erro esqueci essa esse estava estorno estou estão falha faltam faltando fatura fazer fecha foi foram fui
funcionando garantia gostaria grátis hoje há impresso impressora interrupção isso isto itens juros já ligar loja lá
meia mensalidade mesma mesmo meu meus minha minhas moça mudar muito muitos nem nenhum nossa nosso notificação novo num
numa não obrigada obrigado olá onde ontem outra outro paguei papel pela pelo pelos pessoal plano pode podem poderia
pra prazo preciso prezada prezado preço produto promoção qualquer quebrada quebrado quem quero recebi recebido
reclamação rede reembolsar relato restituição roteador seja sem senha senhas seu seus sistema solicitação sou suas
suporte são só também taxas tela telefone tenho ter teve tive trabalho troca trocar tudo uma valor valores vencimento
vezes vieram você vocês é
aan aanbieding aangekomen aankoop aanpassen aanvraag aanvragen abonnee adres afgeschreven afspraak alleen altijd
andere annuleren apparaat artikelen batterij bedankt bedrag beeldscherm beschadigd bestand beste bestelde bestellen
bestelling betaald betaalde betalen betaling bezorgadres bezorgd bezorger bezorging bij binnen bonnetje contant daar
dank deze dit doen doet doorgeven doorsturen doos een eens eerst factureren factuur factuurnummer fout foutmelding
gaan gaat geannuleerd gebruiken geen geleverd geweigerd geweigerde gewoon goed goedemiddag goedendag graag groet haar
heb hebben hebt heeft helaas het hij hoe hoog hulp iemand iets ik ingelogd inloggegevens inloggen instellen
instellingen jij jouw jullie kan kapot kapotte keer klacht klachten klant klantenservice klantnummer kleur klopt kopie
korting kortingscode krijg krijgen kunnen kunt kwijt laadt langzaam leveren levering lukt maand maandag maar
medewerker meer melden melding meteen mij mijn mislukt moet moeten morgen naar netwerk niet niets nieuwe niks nodig
nog nooit ongeldig ontbreekt ontbreken ontvangen onze ook openen openingstijden opgezegd opnieuw opzeggen pakket
pakketje prijs probeer rekening rekeningnummer reparatie retourneren ruilen scherm sinds steeds sturen tegen termijn
terug terugbetaling teruggestort toch toegang traag tussen twee uit uitgevallen uitschrijven uw vandaag vanmorgen veel
verder vergeten verkeerd verkeerde verlengd verlengen verlopen verstuurd vervangen verzenden verzending verzonden
volgende voor vraag vragen waar waarom waarschuwing wachten wachtwoord wanneer waren webshop webwinkel weer weet
weigeren wel werken werkt wij wijzig wijzigen wil willen wilt winkel worden wordt zal ze zeer zelf zending zich zij
zijn zo zonder zou zwart
abonament aby adresu aktualizacji aktywować albo anulowanie anulować aplikacja bardzo bez brak brakuje być był była
było będzie błąd błędna chciałabym chciałbym chcę ciągle czarny czas czy dla dlaczego dobry dodatkowe dostawa dostawca
dostawy dostałem dotarła doładowanie drogi drukarka drukarki drukuje dwa dwóch działa działają dzień dziękuję dziś
ekran faktur faktura faktury fakturze gdy gdzie gwarancja gwarancji hasła hasłem hasło ile informacji innych jak jaki
jakich jakie jako jednak jego jej jest jestem jeszcze jeśli już karta kartą kiedy klawiatura klient klienta komputer
koncie konta kopii kto która które który kupić kupon kuponu kwota logowania logowanie logować lub mam miesiąc mnie
mogą mogę moim moja moje mojego może można mój nad nadal naprawa naprawić nasz nie nieprawidłowe nieprawidłowy
niestety nigdy nim nowy numer numeru od odebrać odrzucona opłat opłata opłaty oraz otrzymałem otwiera paczka paczki
pani pieniądze pieniędzy plik pliki pliku pobiera pobrano pobrać podczas pomoc pomocy ponieważ potrzebuję
potwierdzenie poza pozdrawiam pralka problemy prosze proszę przed przedłużenie przedłużyć przelew przesyłka przez przy
przycisk płacić płatności płatność rabat rabatowy rachunek reklamacja reklamację rezygnacja roku rozmiar serwer serwis
się sklep sklepie sprawdzić strona strony szybko są także tam tego tej temu też towar tych tylko tym umowy umówić
urządzenie ustawienia usunąć uszkodzony usługa usługi wczoraj wersja witam wizytę więc wolno wpłaty wszystko wymiana
wysokie wysyłki wysłano wysłać wyłącza za zakup zakupu zalogować zamówienia zamówienie zamówieniem zapomniałem
zapłaciłem zbyt zepsuta zepsuty zgłoszenie zmiana zmienić został została zostało zwrot zwrotu zwrócić zła zły żadnej
że żeby
abonnemang abonnemanget adress adressen allt andra användare användarnamn appen artiklar att avbeställa avbokning
avgift avgiften avgifter avsluta avtal avtalet bara behöver beloppet beställa beställde beställning beställt betala
betalning betalningen betalt bild bli blir blivit boka bokning butik butiken byta dator datorn denna det detta ditt
dragit dubbelt då efter eftersom ej eller erbjudande ett fakturan faktureras fakturor fel felaktig felet felmeddelande
finns fram fråga från fungerade fungerar får fått för förlänga försenad gammal garanti genom giltig glömt går gör göra
hade hej hemsidan hjälp hjälpa hos hur hälsningar här idag igen igår ihop inga ingen inget inloggad inloggning
inloggningen inloggningsuppgifter inställningar inte jag jättelänge knappen kommer kontot kort kortet kostar kostnad
kraschar kund kundnummer kundtjänst kvar kvitto köp köpa köpet köpte laddar lagret leverans leveransadress leveransen
levererad logga långsam lösenord lösenordet medan medlemskap mejl mellan mer mig mina mitt mottagit mycket månad nej
nekades nya när nätverk nätverket någon något några och också ogiltig ogiltiga ogiltigt oss paketet pengar pengarna
prenumeration pris priset på rabattkod rabattkoden retur returnera saknas sida sidan sig sina ska skadad skicka
skickat skriva skrivaren skriver skulle skärm skärmen snälla som spara startar ställa står svarar svart sälja säljare
så tack tangentbord telefonen tillbaka tjänst tjänsten trasig trasigt två upp uppdatera uppgifter uppsägning utan
utcheckning vad vara varan varför varit varor vem vilka vill väldigt vänta vår är återbetalning öppettider öppna
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
# The same, but also found in English texts, mostly in names.
_RATHER_FOREIGN = """
bonjour buenas buenos ce ciao con da das de del dem der des di du el en er es est et gracias hola hoy il ja la las le
les lo los marche merci mi mit nada non ob oder ons ou par que se su te tu um un van ver von wo
"""
# English words with foreign letters.
_BORROWED = """
appliqué attaché beyoncé brûlée café cafés chloé citroën cliché clichés crème d'amico d'angelo d'arcy d'costa
d'or d'souza décor déjà entrée exposé façade fiancé fiancée jalapeño josé l'oreal l'oréal lancôme michèle naïve
nestlé née piñata pokémon protégé pâté renée résumé résumés señor soufflé touché van't vis-à-vis zoë à
"""
_LEANINGS = {
    word: leaning
    for group, leaning in ((_ENGLISH, 2), (_RATHER_ENGLISH, 1), (_FOREIGN, -2), (_RATHER_FOREIGN, -1), (_BORROWED, 0))
    for word in group.split()
}
_FOREIGN_ELISION = re.compile(r"(?:[cdjlmnst]|qu|un|d?all|dell|nell|sull|dov|com|quest|quell)'[^\W\d_]{2,}")
_FOREIGN_ENDING = re.compile(
    r".{3,}(?:keit|lich|schaft|ieren|iert|zione|zioni|idad|idade|ciones|mente|heden|igheid|elijk|elijke|ijke)"
    r"|.{5,}(?:ung|ungen|problem|probleme|fehler|anfrage|ausfall)"
)
# Letters of other scripts, without mathematical and decorative forms of Latin letters.
_OTHER_SCRIPTS = re.compile(
    "[\u0370-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff\u2e80-\ua63f\ua640-\ua6ff\ua800-\uab2f\uab70-\ufaff"
    "\ufb13-\ufdff\ufe70-\ufefc\uff66-\uffdc\U00010000-\U0001cfff\U0001e800-\U0001efff\U00020000-\U0003ffff]"
)
_ACCENTED_LETTER = re.compile("[\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_QUOTES = PUNCTUATION + "«»„“”‘’‹›¿¡…–—"


def leaning_of(word: str) -> int:
    """Return the leaning of a lower-case word: above zero to English, below zero away from it."""
    bare_word = word.strip(PUNCTUATION)
    if not bare_word.isascii():
        bare_word = word.replace("’", "'").strip(_QUOTES)
    bare_word = bare_word.removesuffix("'s")
    leaning = _LEANINGS.get(bare_word)
    if leaning is not None:
        return leaning
    if _OTHER_SCRIPTS.search(bare_word) or ("'" in bare_word and _FOREIGN_ELISION.fullmatch(bare_word)):
        return -2
    return -1 if _ACCENTED_LETTER.search(bare_word) or _FOREIGN_ENDING.fullmatch(bare_word) else 0


def are_foreign(leanings: NDArray[np.int64], word_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts seem not to be English, from the sum of their words' leanings and their number of words."""
    return (leanings < 0) & ((-WORDS_PER_LEANING * leanings >= word_counts) | (leanings <= PLAINLY_FOREIGN))


def share_foreign(texts: Sequence[Sequence[str]]) -> float:
    """Return the share of texts (lists of words) that seem not to be English; 0 if there are none."""
    leanings = np.array([sum(map(leaning_of, tokens)) for tokens in texts], np.int64)
    word_counts = np.array([len(tokens) for tokens in texts])
    return float(are_foreign(leanings, word_counts).mean()) if texts else 0.0
