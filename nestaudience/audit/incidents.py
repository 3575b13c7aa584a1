"""What an incident's code says, in words for a person, in Swedish and English. Pure; a test holds that every code that is written has its
sentence.

Codes are never translated: the sentence stands beside the code.
"""

from collections.abc import Mapping
from typing import Final

from nestaudience.vocabulary import Language

INCIDENTS: Final[Mapping[str, tuple[str, str]]] = {
    "blocked_by_policy": (
        "Plattformen har stängt av vår app ett tag och tog inte bort dem som skulle bort.",
        "The platform blocked our app for a while, and did not take off those who had to leave.",
    ),
    "consent_counts": (
        "Plattformen räknar samtyckessignaler på ett annat sätt än vi skickade dem.",
        "The platform counts consent signals otherwise than we sent them.",
    ),
    "list_deleted_for_withdrawal": (
        "Plattformen vägrade att ta bort personer som sagt nej, så hela listan raderades.",
        "The platform refused to take off people who said no, so the whole list was deleted.",
    ),
    "list_expires": (
        "Ingen annons har använt listan på länge; plattformen raderar den på en utsatt dag.",
        "No advertisement has used the list for long; the platform deletes it on a day that it names.",
    ),
    "list_flagged": (
        "Plattformen har flaggat listan och ändrar ingen på den, inte ens för ett nej.",
        "The platform flagged the list and changes nobody on it, not even for a no.",
    ),
    "list_gone": (
        "Listan finns inte längre på plattformen; ingen är kvar på den.",
        "The list is no longer on the platform; nobody is on it any more.",
    ),
    "list_lookalike": (
        "Någon har byggt en liknande målgrupp på listan; samtycket täcker inte det.",
        "Somebody built a lookalike audience on the list; the consent does not cover that.",
    ),
    "list_not_deleted": (
        "En lista som måste raderas kunde inte raderas; den behåller personer som sagt nej.",
        "A list that had to be deleted could not be; it keeps people who said no.",
    ),
    "list_owner_changed": (
        "Listan hör till ett annat annonskonto än det som den bands till.",
        "The list belongs to another ad account than the one to which it was bound.",
    ),
    "list_rejected": (
        "Plattformen betraktar listan som känslig eller avvisad och tog inte bort dem som skulle bort.",
        "The platform holds the list as sensitive or rejected, and did not take off those who had to leave.",
    ),
    "list_renamed": (
        "Någon har bytt listans namn på plattformen.",
        "Somebody changed the list's name on the platform.",
    ),
    "list_shared": (
        "Ett annat annonskonto får använda listan.",
        "Another ad account may use the list.",
    ),
    "list_unknown": (
        "På annonskontot finns en lista med en av våra koder som loggen inte känner till.",
        "The ad account has a list with a code of ours that the log does not know.",
    ),
    "people_set_aside": (
        "Plattformen vägrade ta emot en begäran på grund av några personer; de lades åt sidan och de andra gick.",
        "The platform refused a request because of some of its people; they were set aside, and the others went.",
    ),
    "removal_refused_again": (
        "Plattformen genomförde inte en borttagning, inte heller vid andra försöket.",
        "The platform did not carry out a removal, nor did it at the second try.",
    ),
    "removal_refused_too_small": (
        "Plattformen vägrade en borttagning, eftersom för få skulle bli kvar på listan.",
        "The platform refused a removal, because too few would be left on the list.",
    ),
    "wrong_account": (
        "Listan eller annonskontot är inte det som målgruppen är bunden till; ingenting skickades.",
        "The list or ad account is not the one to which the audience is bound; nothing was sent.",
    ),
}
"""Code -> its sentence in Swedish and in English."""


def incident(code: str, language: Language = Language.EN) -> str:
    """The sentence of a code; empty for one that this program does not know, as in the log of a newer one."""
    found = INCIDENTS.get(code)
    return "" if found is None else found[0] if language is Language.SV else found[1]
