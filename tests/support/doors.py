"""Which doors stand open: said by hand, once, for every test that tries them."""

OPEN_TO_ALL = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/forgot",
    "POST /auth/reset",
    "POST /auth/otp/request",
    "POST /auth/otp/verify",
    "POST /auth/mfa/verify",
    "POST /auth/passkeys/login/options",
    "POST /auth/passkeys/login/verify",
    "GET /auth/oauth/{provider}/start",
    "GET /auth/oauth/{provider}/callback",
    "POST /oauth/token",
    "POST /oauth/introspect",
    "POST /oauth/revoke",
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
    "GET /.well-known/oauth-authorization-server",
}
"""Whoever opens a route to the whole world says so here as well."""
