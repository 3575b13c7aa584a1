"""Names and addresses of the demo's people: invented, and every odd address that shops have met. Data only."""

from typing import Final

_FIRST = (
    "Anna Åsa Björn Eva Göran Karin Lars Märta Nils Örjan Sofia Jörgen Håkan Birgitta Elin Emil Frida Gustav Hanna "
    "Ida Johan Klara Linnéa Magnus Maja Oskar Pär Rebecka Sara Tove Ulrika Viktor Wilma Ylva Zahra Ali Fatima "
    "Mohammed Aino Veikko Jelena Milan Agnes Alva Axel Bengt Cecilia Daniel Ebba Erik Felicia Filip Gun Henrik "
    "Ingrid Jakob Kerstin Leif Lovisa Mats "
)
_LAST = (
    "Andersson Johansson Öberg Åkerlund Bergström Lindqvist Sjöberg Nyström Hellström Björklund Sandström Lundgren "
    "Ekström Holmqvist Strömberg Engdahl Forsgren Hägglund Wikström Söderlund Ängkvist Norrby Backlund Dahlgren "
    "Edvardsson Fransson Granlund Hjelm Isaksson Jönsson Källström Löfgren Mårtensson Nordin Olofsson Palmqvist "
    "Rosén Sundin Tjäder Ullberg Vallgren Westerberg Yngvesson Zetterlund Haddad Nguyen Korhonen Kovacevic Rahimi "
    "Tesfay "
)

FIRST: Final = tuple(_FIRST.split())
"""First names."""
LAST: Final = tuple(_LAST.split())
"""Last names. A first and a last name together, in ASCII, belong to no other pair."""

DOMAINS: Final = {
    "gmail.com": 0.42,
    "hotmail.com": 0.15,
    "telia.com": 0.1,
    "outlook.com": 0.1,
    "live.se": 0.07,
    "icloud.com": 0.06,
    "googlemail.com": 0.02,
    "": 0.08,
}
"""Domain -> share of the addresses; the empty one stands for a family's own."""

INVALID: Final = (
    "",
    "null",
    "   ",
    "anna{n}",
    "anna{n}@@example.se",
    "anna{n}@b@example.se",
    "@example.se",
    "anna{n}@",
    "anna{n}@example",
    "anna{n}@example..se",
    "anna{n}@.example.se",
    "anna {n}@example.se",
    "anna{n}\u00a0b@example.se",
    "anna{n}\u2003@exam\u3000ple.se",
    "anna\t{n}@example.se",
    "anna{n}@exa\nmple.se",
    "anna\u200b{n}@example.se",
    "\ufeffanna{n}@example.se",
    "anna{n}\u00ad@example.se",
    "anna\u202e{n}@example.se",
    "anna\0{n}@example.se",
    "anna\x7f{n}@example.se",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f{n:05x}",
    '"anna {n}"@example.se',
    "Anna Berg <anna{n}@example.se>",
    "mailto:anna{n}",
)
"""Addresses that no recipient's rule accepts, in every way that shops have met."""

ODD: Final = (
    "  anna{n}@example.se \t",
    "\u00a0anna{n}@example.se\u2003",
    "ANNA{n}@EXAMPLE.SE",
    "åsa.öberg{n}@example.se",
    "A\u030asa{n}@example.se",
    "info{n}@räksmörgås.se",
    "info{n}@xn--rksmrgs-5wao1o.se",
    "\u0430nna{n}@example.se",
    '"anna{n}"@example.se',
    "STRASSE{n}@straße.example",
    "o'neil{n}@example.se",
    "a.n.n.a{n}+rea@GMail.com",
    "karin+reklam{n}@telia.com",
    "I\u0307pek{n}@example.se",
)
"""Addresses that look wrong and are accepted: trimmed, non-ASCII, internationalised, mixed scripts, quoted."""
