"""Words for the person herself, in Swedish and English: why, what she said, and what a list holds. Pure; it looks nobody up.

Each sentence says what is so, without the rules' own words. A test holds that every reason, verdict and state has its sentence in both languages.
"""

from collections.abc import Mapping
from typing import Final

from nestaudience.screening.tracing import Verdict
from nestaudience.vocabulary import Language, Reason

Two = tuple[str, str]
"""Swedish, English."""

REASONS: Final[Mapping[Reason, Two]] = {
    Reason.ACCOUNT_CLOSED: ("Kontot är avslutat.", "The account is closed."),
    Reason.ACCOUNT_LOCKED: ("Kontot är spärrat för tillfället.", "The account is locked for the time being."),
    Reason.VANISHED: ("Kontot finns inte längre i kundregistret.", "The account is no longer in the customer register."),
    Reason.OTHER_CONTROLLER: (
        "Kontot hör till ett annat bolag i gruppen.",
        "The account belongs to another company of the group.",
    ),
    Reason.ERASURE: ("Radering av uppgifterna har begärts.", "Erasure of the data was requested."),
    Reason.RESTRICTED: ("Behandlingen är begränsad på begäran.", "Processing was restricted on request."),
    Reason.OBJECTED: (
        "En invändning mot anpassade annonser gäller.",
        "An objection to tailored advertising stands.",
    ),
    Reason.SUPPRESSED: (
        "Ett tidigare nej gäller fortfarande, även om det inte längre syns i kundregistret.",
        "An earlier no still holds, though the customer register no longer shows it.",
    ),
    Reason.MINOR: (
        "Enligt födelseåret är kontoinnehavaren, eller kan vara, under 18 år.",
        "By the year of birth the account holder is, or may be, under 18.",
    ),
    Reason.PROTECTED: ("Kontot har skyddade uppgifter.", "The account is protected."),
    Reason.CONSENT_MISSING: (
        "Inget samtycke till matchning för annonser finns på kontot.",
        "There is no consent to matching for advertising on the account.",
    ),
    Reason.CONSENT_WITHDRAWN: ("Samtycket är återkallat.", "The consent was withdrawn."),
    Reason.COOKIES_REFUSED: (
        "Kakor för annonser har avböjts, och det räknas även som ett nej till matchning.",
        "Advertising cookies were refused, which counts as a no to matching as well.",
    ),
    Reason.CONSENT_EXPIRED: ("Samtycket är för gammalt och gäller inte längre.", "The consent is too old and no longer holds."),
    Reason.CONSENT_TEXT_INSUFFICIENT: (
        "Texten som visades när samtycket gavs omfattar inte detta.",
        "The text that was shown with the consent does not cover this.",
    ),
    Reason.CONSENT_OTHER_SCOPE: (
        "Samtycket gäller en annan mottagare eller ett annat bolag.",
        "The consent is for another recipient or another company.",
    ),
    Reason.CONSENT_UNUSABLE: (
        "Samtycket är inte bekräftat, eller registrerat så att det inte kan åberopas.",
        "The consent is not confirmed, or recorded in a way that cannot be relied on.",
    ),
    Reason.BEHAVIOUR_CONSENT_MISSING: (
        "Målgruppen bygger på besök på webbplatsen, och det saknas samtycke till det.",
        "The audience is built on visits to the site, and there is no consent to that.",
    ),
    Reason.ANALYSIS_OBJECTED: (
        "En invändning mot analys av köp gäller, och målgruppen bygger på köp.",
        "An objection to the analysis of orders stands, and the audience is built on orders.",
    ),
    Reason.LOOKBACK_EXCEEDED: (
        "Köpet eller besöket som målgruppen bygger på är för gammalt.",
        "The order or visit that the audience is built on is too old.",
    ),
    Reason.BUSINESS_CONTACT: ("Kontot är ett företagskonto.", "The account is a business account."),
    Reason.INACTIVE: ("Kontot har inte använts på länge.", "The account has not been used for a long time."),
    Reason.COUNTRY_OUT_OF_SCOPE: (
        "Kontots land ingår inte i annonseringen.",
        "The account's country is not part of the advertising.",
    ),
    Reason.TEST_OR_STAFF: ("Kontot är ett test- eller personalkonto.", "The account is a test or staff account."),
    Reason.MALFORMED: (
        "En uppgift i kundregistret går inte att läsa, och då lämnas inget ut.",
        "Something in the customer register cannot be read, and then nothing is sent.",
    ),
    Reason.ADDRESS_INVALID: ("E-postadressen går inte att använda.", "The e-mail address cannot be used."),
    Reason.ADDRESS_NOT_FROM_ACCOUNT: (
        "E-postadressen kommer inte från kontot.",
        "The e-mail address does not come from the account.",
    ),
    Reason.ADDRESS_UNVERIFIED: ("E-postadressen är inte bekräftad.", "The e-mail address is not verified."),
    Reason.ADDRESS_SHARED_WITH_BLOCKED: (
        "Adressen används också av ett konto som inte får vara med, till exempel ett barns.",
        "The address is also used by an account that must not be included, a child's for example.",
    ),
}
VERDICTS: Final[Mapping[Verdict, Two]] = {
    Verdict.COUNTS: ("räknas", "counts"),
    Verdict.EXPIRED: ("för gammalt", "too old"),
    Verdict.UNCONFIRMED: ("inte bekräftat", "not confirmed"),
    Verdict.UNUSABLE: ("kan inte åberopas", "cannot be relied on"),
    Verdict.TEXT_INSUFFICIENT: ("texten omfattar inte detta", "the text does not cover this"),
    Verdict.OTHER_SCOPE: ("gäller något annat", "is for something else"),
    Verdict.STANDS: ("gäller", "stands"),
    Verdict.OUTDONE: ("upphävt av något senare", "ended by something later"),
    Verdict.NOTED: ("noterat", "noted"),
}
ACTIONS: Final[Mapping[str, Two]] = {
    "grant": ("samtycke", "consent"),
    "withdraw": ("nej", "no"),
    "object": ("invändning", "objection"),
    "lift_objection": ("invändning återtagen", "objection taken back"),
    "restrict": ("begränsning", "restriction"),
    "unrestrict": ("begränsning upphävd", "restriction ended"),
    "erase": ("radering begärd", "erasure requested"),
    "close": ("konto avslutat", "account closed"),
}
PURPOSES: Final[Mapping[str, Two]] = {
    "ad_matching": ("matchning för annonser", "matching for advertising"),
    "web_behaviour": ("besök på webbplatsen", "visits to the site"),
    "enhanced_conversions": ("mätning av köp", "measuring purchases"),
    "order_analysis": ("analys av köp", "analysis of orders"),
    "unknown": ("okänt", "unknown"),
    "*": ("allt", "everything"),
}
ON_LIST: Final[Mapping[str, Two]] = {
    "confirmed": ("står på listan", "is on the list"),
    "possible": ("kan stå på listan", "may be on the list"),
    "in_flight": ("är på väg till listan", "is on the way to the list"),
    "removing": ("är på väg bort från listan", "is on the way off the list"),
    "owed": ("ska tas bort från listan", "is to be taken off the list"),
    "": ("står inte på listan", "is not on the list"),
}
NOT_IN_SEGMENT: Final[Two] = (
    "Kontot hör inte till målgruppen: inget köp eller besök passar.",
    "The account is not in the audience: no order or visit fits.",
)
ELIGIBLE: Final[Two] = ("Får vara med.", "May be included.")


def said(words: Two, language: Language) -> str:
    """The sentence in one language."""
    return words[0] if language is Language.SV else words[1]
