"""A throwaway certificate authority, and the server certificate that it signs.

In:   a folder and a name.      Out:  `NAME.ca.pem` to trust, `NAME.tls.pem` (key and certificate), both mode 0600, and
an SSL context. The authority's key is kept nowhere: nothing more can be signed with it. Good for LIFE by wall time.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alphakite.simulator.oauth import write_private

API_HOST, STREAMER_HOST = "api.schwabapi.com", "streamer-api.schwab.com"
NAMES = ("localhost", API_HOST, STREAMER_HOST)
LIFE = timedelta(days=60)
SLACK = timedelta(days=1)
"""The certificate begins so much earlier: a client's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`ca_file`: what clients must trust."""

    ca_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """For the listening side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.key_file)
        return context


def make_identity(folder: Path, name: str, host: str) -> Identity:
    """Make and write both files. Args: host: the address listened on, named in the certificate beside 127.0.0.1.

    Raises OSError if the folder cannot be written.
    """
    now = datetime.now(UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("alphakite simulator, throwaway authority")
    authority_certificate = (
        _builder(authority, authority, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server_certificate = (
        _builder(_name(API_HOST), authority, server_key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName(_alternatives(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(server_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key_text = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    identity = Identity(folder / f"{name}.ca.pem", folder / f"{name}.tls.pem")
    write_private(identity.ca_file, _pem(authority_certificate))
    write_private(identity.key_file, key_text + _pem(server_certificate))
    return identity


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + LIFE)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternatives(host: str) -> list[x509.GeneralName]:
    addresses = [ipaddress.ip_address("127.0.0.1")]
    names = list(NAMES)
    try:
        own = ipaddress.ip_address(host)
        addresses += [own] if own not in addresses and not own.is_unspecified else []
    except ValueError:
        names += [host] if host not in names else []
    return [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
