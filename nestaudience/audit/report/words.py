"""The report's words in Swedish and English: states, kinds, the glossary, and what the verifier's codes say in Swedish. Pure.

Codes are never translated: a word stands beside the code or instead of it, and a code without a word stands as it is.
"""

from collections.abc import Mapping
from typing import Final

from nestaudience.vocabulary import Language

Two = tuple[str, str]
"""Swedish, English."""

WORDS: Final[Mapping[str, Mapping[str, Two]]] = {
    "operation": {"add": ("läggs till", "added"), "remove": ("tas bort", "removed")},
    "run_kind": {
        "nightly": ("natt", "nightly"),
        "withdrawals": ("återkallelser", "withdrawals"),
        "backfill": ("efterkörning", "backfill"),
        "manual": ("för hand", "by hand"),
        "drill": ("övning", "drill"),
        "sandbox": ("sandlåda", "sandbox"),
    },
    "settled": {
        "succeeded": ("genomförd", "succeeded"),
        "partly": ("delvis genomförd", "partly"),
        "failed": ("utan verkan", "failed"),
        "waiting": ("mottagen, väntar på besked", "accepted, no result yet"),
        "unknown": ("okänt: räknas som utlämnat", "unknown: counts as disclosed"),
        "lapsed": ("förfallen", "lapsed"),
        "nothing_sent": ("inget skickat", "nothing sent"),
    },
    "open": {
        "waiting": ("väntar på besked", "accepted, no result yet"),
        "unknown": ("okänt resultat", "unknown result"),
        "refused": ("fryst: avvisad", "frozen: refused"),
        "partly": ("delvis inte mottagen", "partly not taken"),
    },
    "night": {
        "done": ("klar", "done"),
        "not_clean": ("klar med anmärkning", "done with remarks"),
        "unfinished": ("utan slut", "no end"),
        "missed": ("ingen körning", "no run"),
    },
    "basis": {
        "consent": ("samtycke", "consent"),
        "cookie_consent": ("samtycke till kakor", "consent to cookies"),
        "legitimate_interest": ("berättigat intresse", "legitimate interest"),
    },
    "kept": {
        "until_removed": ("till dess att borttagningen är bekräftad", "until the removal is confirmed"),
        "for_the_run": ("under körningen", "during the run"),
        "with_the_log": ("lika länge som loggen", "as long as the log"),
    },
    "data": {
        "hashed account e-mail address": ("hashad e-postadress från kontot", "hashed account e-mail address"),
        "hashed checkout e-mail address": ("hashad e-postadress från kassan", "hashed checkout e-mail address"),
        "visits and clicks while logged in": ("besök och klick i inloggat läge", "visits and clicks while logged in"),
        "order lines": ("orderrader", "order lines"),
    },
    "sensitive": {
        "reviewed_not_sensitive": ("granskad, inte känslig", "reviewed, not sensitive"),
        "reviewed_sensitive": ("granskad, känslig: listan töms", "reviewed, sensitive: the list is emptied"),
        "not_reviewed": ("inte granskad", "not reviewed"),
    },
    "inputs": {"orders": ("köp", "orders"), "visits": ("besök", "visits"), "clicks": ("klick", "clicks")},
    "clock": {
        "recorded_to_visible": ("antecknad → sedd", "recorded → seen"),
        "visible_to_accepted": ("sedd → mottagen av plattformen", "seen → accepted by the platform"),
        "accepted_to_done": ("mottagen → genomförd (plattformens klocka)", "accepted → done (the platform's clock)"),
    },
    "anchor": {"directory": ("ankarkatalogen", "the anchor directory")},
    "entry": {
        "access": ("registerutdrag", "access"),
        "erasure": ("radering", "erasure"),
        "rectification": ("rättelse", "rectification"),
        "lookup": ("uppslag", "lookup"),
        "suppression": ("invändning", "objection"),
    },
}
"""Kind of word -> code -> words."""

COUNTRIES: Final[Mapping[str, Two]] = {"IE": ("Irland", "Ireland"), "SE": ("Sverige", "Sweden"), "US": ("USA", "United States")}

GLOSSARY: Final[tuple[tuple[Two, Two], ...]] = (
    (
        ("personuppgiftsansvarig", "controller"),
        (
            (
                "Ett bolag i gruppen som ansvarar för sina kunders uppgifter. Varje konto, målgrupp, annonskonto och "
                "post i loggen har exakt ett."
            ),
            (
                "A group company answerable for its customers' data. Every account, audience, ad account and log entry "
                "has exactly one."
            ),
        ),
    ),
    (
        ("mottagare", "recipient"),
        (
            "Den juridiska person som tar emot: Google eller Meta på Irland.",
            "The legal entity that receives: Google or Meta in Ireland.",
        ),
    ),
    (
        ("destination", "destination"),
        (
            "Den tekniska väg som leder till en mottagare. Den kan bytas; målgruppen är densamma.",
            "The transport that reaches a recipient. It may change; the audience stays.",
        ),
    ),
    (
        ("kontoinnehavare", "account holder"),
        (
            "En person med ett konto. Den som bara har nyhetsbrev, handlar som gäst eller är en tänkbar kund räknas inte hit.",
            "A person with an account. Newsletter-only, guests and leads are not.",
        ),
    ),
    (
        ("segment", "segment"),
        ("En regel som väljer ut kontoinnehavare hos ett bolag.", "A rule that selects account holders of one controller."),
    ),
    (
        ("målgrupp", "audience"),
        (
            "Ett segment hos ett bolag på ett annonskonto hos en mottagare: en lista hos plattformen.",
            "One segment of one controller on one ad account of one recipient: one remote list.",
        ),
    ),
    (
        ("prövning", "screening"),
        (
            "Avgör för varje konto och mottagare: får vara med, eller nekas med en orsakskod.",
            "Decides for every account and recipient: eligible, or refused with a reason code.",
        ),
    ),
    (
        ("kontrollsumma", "digest"),
        (
            "SHA-256 av adressen, skriven på mottagarens sätt. Den är en personuppgift och det enda som lämnas ut.",
            "SHA-256 of the address, written by the recipient's rule. It is personal data, and all that is sent.",
        ),
    ),
    (
        ("medlemskap", "membership"),
        (
            "Vad vi måste anta att listan innehåller: bekräftat, eller möjligt (skickat men inte besvarat).",
            "What we must assume the remote list holds: confirmed, or possible (sent, not yet answered).",
        ),
    ),
    (
        ("skillnad", "delta"),
        ("Borttagningar och tillägg som gör en lista riktig.", "Removals and additions that bring one audience into line."),
    ),
    (
        ("överföring", "transfer"),
        (
            "Leveransen av en skillnad: avsikt, satser, kvitton, resultat. Avsikten skrivs i loggen innan något skickas.",
            (
                "The delivery of one delta: an intent, batches, receipts, an outcome. The intent is in the log before "
                "anything is sent."
            ),
        ),
    ),
    (
        ("ett nej", "a no"),
        (
            "Ett tydligt besked om att personen inte får stå på listan. Att något saknas är inget nej, men gör ingen behörig.",
            "Positive evidence that the person must not be on the list. An absence is not a no, but makes nobody eligible.",
        ),
    ),
    (
        ("huvudbok", "ledger"),
        (
            "Systemets eget minne: överföringslogg, medlemskap, satser, ihågkomna nej.",
            "The system's own memory: transfer log, memberships, batches, remembered noes.",
        ),
    ),
    (
        ("kontrollpunkt", "checkpoint"),
        (
            "En signerad sammanfattning av loggen vid en viss längd. Ingen post under den kan ändras utan att det märks.",
            "A signed summary of the log at one length. No entry under it can be changed unseen.",
        ),
    ),
    (
        ("ankare", "anchor"),
        (
            "En kopia av en kontrollpunkt som har lämnat datorn, så att inte ens dess ägare kan skriva om loggen obemärkt.",
            "A copy of a checkpoint that left the machine, so that not even its owner can write the log anew unseen.",
        ),
    ),
    (
        ("konsekvensbedömning (DPIA)", "impact assessment (DPIA)"),
        (
            "Bedömningen enligt artikel 35 som ett segment vilar på; här står dess nummer.",
            "The assessment of article 35 that a segment rests on; its number stands here.",
        ),
    ),
    (
        ("spärr", "gate"),
        (
            "En regel som håller tillbaka tillägg, och ibland vanliga borttagningar. Ett nej håller den aldrig tillbaka.",
            "A rule that holds additions, and sometimes ordinary removals. It never holds a no.",
        ),
    ),
)
"""((word in Swedish, in English), (meaning in Swedish, in English))."""

WHAT_SV: Final[Mapping[str, str]] = {
    "above_plan": "fler lades till än avsikten angav",
    "added_before_removed": "en borttagning som inte är märkt som sen kommer efter ett tillägg i samma överföring",
    "approval_faulty": "någon lades till utan ett helt godkännande: ingen andra person, inget datum, ingen bedömning, eller ett med brister",
    "bound_elsewhere": "avsikten anger en annan lista eller ett annat annonskonto än målgruppens",
    "list_of_two_audiences": "avsikten skickar till en annan målgrupps lista",
    "batch_of_other_intent": "satsen anger en annan målgrupp eller lista än sin avsikt",
    "batch_repeated": "samma sats står två gånger",
    "batch_without_intent": "ingen avsikt kommer före satsen",
    "behind_head": "loggen är kortare än huvudet vid nycklarna: en säkerhetskopia har lagts tillbaka, eller slutet är avskuret",
    "body_missing": "postens innehåll saknas, och ingen strykning nämner den",
    "brought_note_bad": "en medförd kontrollpunkt hör inte till loggen: felaktig, inte signerad med dess "
    "nyckel, eller förfalskad",
    "checkpoint_bad": "en sparad kontrollpunkt är felaktig, inte signerad med loggens nyckel, eller förfalskad",
    "checkpoint_elsewhere": "en sparad kontrollpunkt står under en annan längd än sin egen",
    "clock_back": "tiden är tidigare än föregående posts",
    "entry_malformed": "postens innehåll är ingen post",
    "entry_of_newer_version": "ett nyare program skrev posten; bara dess kontrollsumma prövades",
    "epoch_malformed": "posten öppnar en ny epok men säger inte trovärdigt vad som gick förlorat",
    "epoch_opened": "en säkerhetskopia lades tillbaka och huvudboken återställdes: här börjar en ny epok",
    "epoch_unexplained": "kontrollpunkten bär en annan epoks namn än posterna under den",
    "field_missing": "en uppgift som posten måste ha saknas eller har fel form",
    "id_repeated": "postens id står två gånger",
    "id_wrong": "postens id stämmer inte med dess tid",
    "inconsistent_with_brought": "loggen är ingen fortsättning på en medförd kontrollpunkt: det förflutna har ändrats",
    "inconsistent_with_head": "loggen är ingen fortsättning på huvudet vid nycklarna",
    "index_wrong": "numret är inte det nästa: en post är borttagen, tillagd eller flyttad",
    "intent_repeated": "samma överföring står två gånger",
    "leaf_wrong": "postens innehåll ger inte dess kontrollsumma: den har ändrats",
    "leaves_count": "antalet medlemsblad stämmer inte med satsen",
    "leaves_missing": "satsens medlemsblad saknas",
    "leaves_root": "medlemsbladen ger inte satsens rot, eller är inte sorterade",
    "leaves_without_batch": "medlemsblad hör inte till någon sats i loggen",
    "lost_in_restore": "en medförd kontrollpunkt täcker poster som en återställning förklarade förlorade",
    "more_removed_than_added": "fler togs bort från listan än som någonsin lades till",
    "result_of_other_transfer": "resultatet anger en annan överföring än sin sats",
    "result_repeated": "satsen hade redan ett känt resultat",
    "result_without_batch": "ingen sats kommer före resultatet",
    "root_wrong": "posterna ger inte roten i en signerad kontrollpunkt: något vid eller efter denna post har ändrats",
    "run_finished_without_start": "körningen slutar utan att ha börjat",
    "run_started_twice": "körningen hade redan börjat",
    "run_unfinished": "körningen har inget slut: den pågår, eller dog",
    "sent_before_sealed": "ingen kontrollpunkt täcker satsen före dess resultat",
    "shorter_than_brought": "loggen är kortare än en medförd kontrollpunkt: slutet är avskuret",
    "shorter_than_checkpoint": "loggen är kortare än en kontrollpunkt som den själv har: slutet är avskuret",
    "status_of_refused": "plattformen lämnar besked om en sats som den hade avvisat",
    "status_without_batch": "ingen sats kommer före beskedet",
    "time_wrong": "tiden är inte UTC med millisekunder",
    "unsealed": "ingen kontrollpunkt täcker ännu posterna från och med denna",
}
"""The verifier's codes in Swedish; in English they are `verify.WHAT`."""

LIMITS_SV: Final = (
    "Vad en plattform gjorde med det den fick: loggen har dess svar, inte dess handlingar.",
    "Att inget skickades vid sidan av programmet, med samma behörighet eller i plattformens egna sidor.",
    "Att kundregistret talade sanning: loggen visar vad som beslutades utifrån det som registret sa.",
    "Att inte hela loggen har skrivits om, om inte en kontrollpunkt som har förvarats någon annanstans läggs fram och stämmer.",
    "Vad som stod i poster som en återställning gav upp: loggen säger hur många de var, inte vad de sa.",
    "Att posterna efter den senaste signerade kontrollpunkten är fullständiga: de räknas, och nästa kontrollpunkt täcker dem.",
)
"""`limits.CANNOT_PROVE` in Swedish, in its order."""


def word(kind: str, code: str, language: Language) -> str:
    """The word for a code of this kind; the code itself where there is none."""
    found = WORDS[kind].get(code)
    return code if found is None else found[0] if language is Language.SV else found[1]
