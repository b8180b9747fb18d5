"""Redaction: what must go, what should stay, and never slowly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.storage.redact import redact

GONE = {
    "jane.doe+news@mail.example.co.uk": "[email]",
    "müller@exämple.de": "[email]",
    "4111 1111 1111 1111": "[card]",
    "5500-0000-0000-0004": "[card]",
    "378282246310005": "[card]",
    "4111111111111112": "[number]",
    "DE89 3704 0044 0532 0130 00": "[iban]",
    "GB82WEST12345698765432": "[iban]",
    "BE68 5390 0754 7034": "[iban]",
    "be68 5390 0754 7034": "[iban]",
    "DE89-3704-0044-0532-0130-00": "[iban]",
    "+49 30 901820": "[phone]",
    "+1 (555) 010-9999": "[phone]",
    "(030) 901 82 00": "[phone]",
    "030/9018200": "[phone]",
    "555-010-9999": "[phone]",
    "0044 20 7946 0958": "[phone]",
    "089 / 123 456 78": "[phone]",
    "06 12 34 56 78": "[phone]",
    "06.12.34.56.78": "[phone]",
    "03-1234-5678": "[phone]",
    "192.168.0.1": "[ip]",
    "2001:db8::ff00:42:8329": "[ip]",
    "::ffff:192.0.2.1": "[ip]",
    "sk-proj-abcdefghijklmnop1234": "[key]",
    "eq-" + "Ab3_" * 10 + "xyz": "[key]",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a": "[key]",
    "AKIAIOSFODNN7EXAMPLE": "[key]",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv": "[key]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N": "[key]",
    "d41d8cd98f00b204e9800998ecf8427e": "[key]",
    "2b4Xq/zT7Yw9+LmN0pQrS5tUvWxYz3AbCdEfGhIj": "[key]",
    "9jP4kLmN0pQrS7tUvWxYz2AbCdEf": "[key]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----": "[key]",
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMII/ab\n-----END RSA PRIVATE KEY-----": "[key]",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----": "[key]",
    "123456789": "[number]",
    "123-45-6789": "[number]",
    "12345678901234567890123": "[number]",
    "123.456.789-09": "[number]",
    "2341 2341 2346": "[number]",
    "1 85 05 78 006 084 36": "[number]",
    "QQ 12 34 56 C": "[number]",
    "QQ123456C": "[number]",
    "RSSMRA85T10A562S": "[number]",
    "ABCPE1234F": "[number]",
    "12345678Z": "[number]",
    "X1234567L": "[number]",
    "850709-9805": "[number]",
    "19850709-9805": "[number]",
}
STAYS = [
    "What is 17 * 23?",
    "Call me on 2024-05-12 at 10:20:30, room 1234.",
    "pi is 3.14159 and e is 2.71828",
    "version 1.2.3 of std::vector<int> in a::b",
    "snake_case_identifiers_that_are_very_long_indeed = CONSTANT_NAMES_THAT_ARE_LONG_TOO",
    "10 000 000 people, 1,234,567 USD, 50% @ home",
    "https://example.com/a/very/long/path/with-many-words-in-it",
    "parts 123-45-678, 1234-56-7890 and x123-45-6789",
    "AABB CCDD or IT WAS 12 O'CLOCK",
    "Donaudampfschifffahrtsgesellschaftskapitän",
    "the token economy: a password policy",
    "The password is required, the API key was revoked, and a token is 128 bits.",
    "A password of 12 characters; its passphrase means nothing. Each token 4-gram, each cookie: a biscuit",
    "12345678A, X1234567A, 850709-9806 and 2341 2341 2347 are made up",
    "In 2019 2020 2021 it sold 3500 4200 5100 of MODEL2024X.",
]


@pytest.mark.parametrize("secret", GONE)
@pytest.mark.parametrize("sentence", ["{}", "See {}.", "({}), then", "x: {}\nEND", "<{}>"])
def test_what_must_go_goes(secret: str, sentence: str) -> None:
    assert redact(sentence.format(secret)) == sentence.format(GONE[secret])


@pytest.mark.parametrize("text", STAYS)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password = hunter2!", "password = [key]"),
        ('{"api_key": "abc123def"}', '{"api_key": "[key]"}'),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [key]"),
        ("curl -H 'bearer abcdefgh'", "curl -H 'bearer [key]'"),
        ('{"Authorization": "Bearer abc.def-123456"}', '{"Authorization": "Bearer [key]"}'),
        ("Authorization: Token abcdef12345", "Authorization: Token [key]"),
        ('{"clientSecret": "abcdefgh"}', '{"clientSecret": "[key]"}'),
        ('{"password": "correct horse, it\'s a battery"}', '{"password": "[key]"}'),
        (r'{"said": "{\"api_key\": \"abc123def\"}"}', r'{"said": "{\"api_key\": \"[key]\"}"}'),
        ("Passwort: geheim123", "Passwort: [key]"),
        ("my password is hunter22, yes", "my password is [key], yes"),
        ("das Passwort lautet geheim123", "das Passwort lautet [key]"),
        ("the API key was `abc123def`", "the API key was `[key]`"),
        ("password is: swordfish", "password is: [key]"),
        ("mysql --password hunter22 -h db", "mysql --password [key] -h db"),
        ("- **Password:** swordfish", "- **Password:** [key]"),
        ("'password' => 'abc123'; pwd := hunter22", "'password' => '[key]'; pwd := [key]"),
        ("<password>hunter22</password>", "<password>[key]</password>"),
        ("密码是hunter22", "密码是[key]"),
        ("AccountKey=abc123==;Suffix", "AccountKey=[key];Suffix"),
        ("PHPSESSID=el4ukv0k", "PHPSESSID=[key]"),
        ("Cookie: a=b; csrf=hunter\nHost: x", "Cookie: [key]\nHost: x"),
        ("curl -H 'Cookie: sid=31d4' x", "curl -H 'Cookie: [key]' x"),
        (r'{"said": "{\"set-cookie\": \"sid=31d4; Path=/\"}"}', r'{"said": "{\"set-cookie\": \"[key]\"}"}'),
        ("contraseña = secreto123", "contraseña = [key]"),
        ("密码：hunter22", "密码：[key]"),
        (
            "İİ. PASSWORD: hunter22, token=abcdefgh; secret-key: 'a b c d'",
            "İİ. PASSWORD: [key], token=[key]; secret-key: '[key]'",
        ),
        ("monkey: bananas, token=password=hunter22", "monkey: bananas, token=[key]"),
        ("IBAN BE68 5390 0754 7034 is mine", "IBAN [iban] is mine"),
        ("IBAN BE68 5390 0754 7034 PLUS MORE", "IBAN [iban] PLUS MORE"),
        ("a@b.de,c@d.fr;4111111111111111", "[email],[email];[card]"),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, left: str) -> None:
    assert redact(text) == left


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["a@b.example", "4111 1111 1111 1111", "192.168.0.1"]))
def test_a_secret_in_any_text_is_gone_and_twice_is_as_once(text: str, secret: str) -> None:
    once = redact(f"{text}\n{secret}\n{text}")
    assert secret not in once
    assert redact(once) == redact(redact(once))


EVIL = [
    "a", "1", "@", "a@", "1 ", "1-", "1.", "a.", ":", "a:", "1:", "+1 ", "+", "(1)", "AB12", "AB12 ", "eyJ",
    "eyJa.", "-",    "-----BEGIN PRIVATE KEY-----", "token=", "password: ", "bearer ", "sk-",
    "0 1", "012 ", "01/23", " ", "\n", "é",
    "A1a-", "a@b.", "a@b-", "::", "f:", "0049 ", "00491", "1 1-", "sk_sk-", "://", "://a:", "A1a/",
    "ab12-", "password ", "password is ", "密码是", "password>", "password>a</", "cookie:", "cookie: a", "cookie: a=",
    "password **", "A1", "AB 12 ", "AAAAA1", "1 11 ", "1111 ", "11-", "X1",
    '"token":"', "'token':'", "01 23 ", "-----BEGIN PRIVATE KEY-----\n-",
]  # fmt: skip


@pytest.mark.parametrize("piece", EVIL)
def test_a_megabyte_of_anything_takes_time_in_proportion(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        started = time.thread_time()
        redact(text)
        return time.thread_time() - started

    # A fifth of it here, so that the suite stays fast; were any pattern quadratic, this would take minutes.
    assert seconds(200_000) < 4.0


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("postgres://bob:hunter22@localhost:5432/orders", "postgres://[key]@localhost:5432/orders"),
        ("https://:secret@host/path?x=1", "https://[key]@host/path?x=1"),
        ("http://localhost:8080/a/user@home", "http://localhost:8080/a/user@home"),
        ("amqp://u:p%40ss@mq.example.com", "amqp://[key]@mq.example.com"),
    ],
)
def test_passwords_in_addresses_go_and_the_addresses_stay(url: str, left: str) -> None:
    assert redact(f"see {url}") == f"see {left}"
