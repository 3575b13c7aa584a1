"""A certificate authority of our own, and a server certificate for this machine, for the sandbox's TLS.

The keys live in memory only and serve one sandbox. Nothing outside a sandbox may trust this authority: it vouches for
`localhost`, 127.0.0.1 and ::1 alone.
"""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_VALID_UNTIL: Final = datetime(2049, 12, 31, tzinfo=UTC)
"""Wide on purpose: TLS looks at the machine's clock, which a sandbox does not own, and the keys die with the process."""


@dataclass(frozen=True, slots=True)
class LoopbackCertificates:
    """PEM texts: the authority's certificate (public), the server's certificate, and the server's key."""

    ca_pem: bytes
    server_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)


def make_loopback_certificates() -> LoopbackCertificates:
    """A fresh authority and one server certificate signed by it (ECDSA P-256). The authority's key is dropped at once."""
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nestaudience sandbox")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    ca = (
        _begin(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    places = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1"))]
    server = (
        _begin(server_name, ca_name, server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key_pem = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return LoopbackCertificates(
        ca.public_bytes(serialization.Encoding.PEM), server.public_bytes(serialization.Encoding.PEM), key_pem
    )


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
    )
