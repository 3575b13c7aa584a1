"""What is written to the person herself, in Swedish and English. Pure: it looks nobody up, and no text holds an address."""

from typing import Final

from nestaudience.vocabulary import Language

_LOG: Final = {
    Language.SV: "Loggen visar vad vi beslutade, skickade och bad om, men inte vad en plattform gjorde därefter.",
    Language.EN: "The log shows what we decided, sent and asked for, and not what a platform did afterwards.",
}
_COMPLAINT: Final = {
    Language.SV: "Du kan lämna klagomål till Integritetsskyddsmyndigheten (IMY), www.imy.se.",
    Language.EN: "You may complain to the supervisory authority, Integritetsskyddsmyndigheten (IMY), www.imy.se.",
}
_RECEIPT: Final = {
    Language.SV: (
        "Kvitto på radering. Ärende {case}.\n"
        "Raderingen begärdes {asked} och var klar {done} (UTC).\n"
        "{what}\n"
        "Varje senare utlämnande av adressen till annonsplattformar är spärrat för de konton som fanns vid begäran.\n"
        "Nyckeln till loggens uppgifter om dig förstörs tidigast {days} dagar efter detta kvitto. Till dess kan du fråga vad som hände.\n"
        "{log}\n"
        "{complaint}\n"
    ),
    Language.EN: (
        "Receipt of an erasure. Case {case}.\n"
        "The erasure was asked for {asked} and was done {done} (UTC).\n"
        "{what}\n"
        "Every later disclosure of the address to advertising platforms is blocked for the accounts that existed when it was asked for.\n"
        "The key to what the log says of you is destroyed {days} days after this receipt at the earliest. Until then you may ask what happened.\n"
        "{log}\n"
        "{complaint}\n"
    ),
}
_GONE: Final = {
    Language.SV: "Alla mottagare av adressens kontrollsumma har bekräftat att den är borttagen, eller så finns listan inte kvar.",
    Language.EN: "Every recipient of the address's digest has confirmed that it is removed, or the list is no more.",
}


def receipt_text(case_id: str, asked: str, done: str, days: int, language: Language, *, known: bool) -> str:
    """The text of a receipt. Times are UTC text; `known`: the log may say something of her."""
    what = (_GONE if known else ACCESS_NOBODY)[language]
    ends = {"log": _LOG[language], "complaint": _COMPLAINT[language]}
    return _RECEIPT[language].format(case=case_id, asked=asked, done=done, days=days, what=what, **ends)


ACCESS_HEADS: Final = {
    Language.SV: ("Mottagare", "Från bolag", "Lista", "Första", "Senaste", "Borttagning begärd", "Borttagning klar", "Nu"),
    Language.EN: ("Recipient", "From company", "List", "First", "Last", "Removal asked", "Removal done", "Now"),
}
ACCESS_TITLE: Final = {
    Language.SV: "Vart adressens kontrollsumma har skickats",
    Language.EN: "Where the address's digest was sent",
}
ACCESS_NOBODY: Final = {
    Language.SV: "Vår logg känner inte till något utlämnande av adressen.",
    Language.EN: "Our log knows of no disclosure of the address.",
}
ACCESS_NOTES: Final = {
    Language.SV: (
        "Ändamål: matchning för annonser. Rättslig grund: ditt samtycke. Det enda som skickas är en kontrollsumma av e-postadressen.",
        "Ett utskick vars svar vi inte känner, eller som mottagaren avvisade, räknas som utlämnat.",
        "Konton som delar adress räknas som en och samma person: inget i systemet skiljer dem åt.",
        _LOG[Language.SV],
        _COMPLAINT[Language.SV],
    ),
    Language.EN: (
        "Purpose: matching for advertising. Legal basis: your consent. Nothing is sent but a digest of the e-mail address.",
        "A request whose answer we do not know, or that the recipient turned away, counts as disclosed.",
        "Accounts that share an address count as one and the same person: nothing in the system tells them apart.",
        _LOG[Language.EN],
        _COMPLAINT[Language.EN],
    ),
}

PROOF_SAYS: Final = {
    Language.SV: {
        True: "Adressen fanns med i minst ett utskick i överföringen {transfer}.",
        False: "Adressen fanns inte med i något av de utskick i överföringen {transfer} som beviset omfattar.",
    },
    Language.EN: {
        True: "The address was in at least one request of the transfer {transfer}.",
        False: "The address was in none of the requests of the transfer {transfer} that the proof covers.",
    },
}
"""By whether she was in it; `transfer` is its id."""
PROOF_NOTES: Final = {
    Language.SV: (
        "Beviset visar vilka åtaganden som stod i utskicken, så som de skrevs ned innan något skickades, och att loggen är signerad.",
        "Att åtagandena är hennes visar den som räknar ut dem på nytt med hennes salt och huvudnyckeln; dokumentet ensamt visar det inte.",
        "Att dokumentet omfattar alla utskick i överföringen visar `nestaudience audit show`. En överföring kan lägga till eller ta bort.",
        "Beviset visar inte vad en plattform gjorde därefter.",
    ),
    Language.EN: (
        "The proof shows which commitments stood in the requests, as they were written down before anything was sent, and that the log is signed.",
        "That the commitments are hers shows whoever computes them again from her salt and the master key; the document alone does not.",
        "That the document covers every request of the transfer shows `nestaudience audit show`. A transfer may add or remove.",
        "The proof does not show what a platform did afterwards.",
    ),
}
