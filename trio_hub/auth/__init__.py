"""Who may be whom: adapters that check credentials, and the registry of those a hub accepts."""

from .api_key import ApiKeyAuth as ApiKeyAuth
from .base import (
    AuthAdapter as AuthAdapter,
    BearerAdapter as BearerAdapter,
    ConnectionAdapter as ConnectionAdapter,
    NoAuth as NoAuth,
)
from .client_certificate import ClientCertAuth as ClientCertAuth
from .credential import Credential as Credential
from .hashed_key import HashedKey as HashedKey, make_key as make_key
from .json_web_token import JwtAuth as JwtAuth
from .registry import AuthRegistry as AuthRegistry
from .revocation_list import RevocationList as RevocationList
