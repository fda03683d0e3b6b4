"""An authority, the certificates that it signs, and contexts of TLS to use them in."""

from __future__ import annotations

import datetime
import ssl

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority"]

_LOOPBACK = "127.0.0.1"
_FOREVER = datetime.datetime(3000, 1, 1, tzinfo=datetime.UTC)
_LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """One that signs for a hub and for its agents."""

    def __init__(self, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        self.ca = trustme.CA(key_type=key_type)
        self._hub = self.ca.issue_cert(_LOOPBACK)
        self._certificate = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        self._key = key

    def serving(self, mode: ssl.VerifyMode = ssl.CERT_OPTIONAL) -> ssl.SSLContext:
        """Return a context for a hub, which believes what this authority signed for clients."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._hub.configure_cert(context)
        context.verify_mode = mode
        self.ca.configure_trust(context)
        return context

    def trusting(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Return a context for a client, which brings a certificate, if it has one."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return context

    def named(self, *common_names: str, **options: object) -> ssl.SSLContext:
        """Return a context for a client whose certificate has these common names."""
        return self.trusting(self.issue(common_names=common_names, **options))

    def issue(
        self,
        *,
        common_names: tuple[str, ...] = (),
        alternatives: tuple[x509.GeneralName, ...] = (),
        not_after: datetime.datetime = _FOREVER,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> trustme.LeafCert:
        """Issue one that says exactly this, which trustme's own method cannot."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it) for it in common_names])
            )
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_LONG_AGO)
            .not_valid_after(not_after)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Since Python 3.13, contexts refuse a certificate that does not say whose key signed.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=not common_names
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return trustme.LeafCert(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            signed.public_bytes(serialization.Encoding.PEM),
            [],
        )

    def sign_anew(self, certificate: trustme.LeafCert, old: bytes, new: bytes) -> trustme.LeafCert:
        """Return one that says something else, of the same length, which no tool would write."""
        read = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
        signed = read.tbs_certificate_bytes
        changed = signed.replace(old, new)
        assert changed != signed
        assert len(changed) == len(signed)
        # Other keys have signatures of different lengths each time.
        assert isinstance(self._key, rsa.RSAPrivateKey)
        signature = self._key.sign(changed, padding.PKCS1v15(), hashes.SHA256())
        der = read.public_bytes(serialization.Encoding.DER).replace(signed, changed)
        pem = ssl.DER_cert_to_PEM_cert(der[: -len(signature)] + signature)
        return trustme.LeafCert(certificate.private_key_pem.bytes(), pem.encode(), [])

    def revoke(self, *certificates: trustme.LeafCert) -> bytes:
        """Return a list, in PEM form, that has these."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(_LONG_AGO)
            .next_update(_FOREVER)
        )
        for certificate in certificates:
            leaf = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
            revoked = x509.RevokedCertificateBuilder(leaf.serial_number, _LONG_AGO)
            builder = builder.add_revoked_certificate(revoked.build())
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)
