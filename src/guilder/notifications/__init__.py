"""Notifications: what people are told, where, and whether it reached them.

Glossary
    notice: one thing one person is told. It has a template, a category and values.
    feed: a person's notices in the app, numbered without gaps in the order they were told.
    delivery: a notice on its way by one other channel: email, SMS, or push to one device.
    contact: a person's name and addresses. Kept encrypted, opened only to send.
    quiet hours: the part of a person's day in which nothing but security is sent.
    sandbox outbox: where messages lie when no provider is set, to be read.

Invariants
    A person's feed has the sequences 1 to n, so a stream resumes after any of them.
    What an event makes people hear is one commit with the record that it was heard.
    A delivery ends as sent or failed; until then it is due again, whoever dies in the middle.
    Security notices are always sent.
"""
