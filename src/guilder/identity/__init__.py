"""Identity: who people are to Guilder, how they prove it, and which roles their accounts have.

Glossary
- *user*: one person: email, phone, name and one set of credentials.
- *account*: a way of acting as that user, named in a token's ``sub``. A ``customer`` account has
  the user's own id; a ``user_admin`` account is paired with it and sees its verification codes; a
  ``staff`` account is a user's who works here. (The ledger's accounts are something else.)
- *session*: one sign-in of one account, named in a token's ``sid``.
- *refresh token*: what a session goes on with; each one is used once and names the next.
- *epoch*: how often all of a user's sessions were ended; a proof of an earlier one opens nothing.
- *remembered device*: one that got a token at a sign-in, so that it is known again.
- *second factor*: what a user shows besides a password: a code of an authenticator app (TOTP) or a
  passkey; a *recovery code* stands in for either, once.
- *challenge*: a sign-in that was right so far and waits for a second factor.
- *step-up*: a session proves again that it is its user's, before it may change second factors.
- *verification*: an operation that waits until it is confirmed with the code that the portal, the
  user-admin account, shows; the right code gives a token that is spent on it.
- *one-time code*: six digits sent to an address, to sign in with it or to prove it is one's own.
- *reset token*: what is mailed to somebody who forgot the password.
- *machine client*: a program with a secret of its own that acts in a user's name, or in its own for
  the house; its *scopes* are the permissions that it was given.
- *provider*: somebody else who recognises people (Google, GitHub, …); a *link* says which of its
  people is which user.
- *role*: what an account is appointed to; `guilder.platform.permissions` says what that grants, and
  an installation adds roles of its own. *customer* and *user_admin* come with the account.
- *permission*: ``resource:action``, what a route asks for; one that every customer has is no power
  over others.
- *freeze*: staff let nobody be a user, until they end it.
- *revocation*: that a session, a token, a user's freedom or a role ended before the tokens did that
  tell of it.

Invariants
- No two users share an email (compared without case) or a phone number (compared as E.164).
- A customer account exists if and only if its user-admin account does: one commit makes both.
- A user-admin account has no role but ``user_admin``, so it can never move money.
- The refresh tokens of a session are one chain: it never forks, and a token that comes again when
  the next was used, or late, ends the session.
- No token of a session that has ended is accepted, from the commit on; the same is true of a frozen
  user and of roles that were taken (decision 17).
- Nobody gives or takes a permission that they do not have at that moment, and somebody always
  administrates.
- A frozen user has no session and opens none.
- A code, a recovery code, a challenge and a passkey's signature count once, for everybody at once.
- The token of a verification does what it was made for, once, in the transaction that spends it.
- Neither signing in nor asking for a code or a reset tells, by its answer or the time it takes,
  whether a user exists.
- Who has a second factor opens no session without one, whichever way they sign in.
- A machine client has no more than its scopes and its user's roles both grant at that moment, and
  no power over people or clients.
- A person of a provider signs in by a link alone. A link is made by a user who is signed in, or by
  an email that the provider and the user have both verified.
- A password is stored as an Argon2id hash only, and signing in costs the same for any answer "no".
"""
