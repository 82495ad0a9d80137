"""A simulated Amazon SES that keeps what it was given: a mailbox that a person can open in a browser.

``POST /v2/email/outbound-emails`` is SES's SendEmail (Simple content). ``GET /`` lists the mails, ``GET /mails/<id>``
shows one with its text beside it, ``GET /mails/<id>/html`` is the page as its reader sees it. Addresses that begin with
``bounce`` or ``complaint`` are, as SES's own mailbox simulator has it, taken and reported to whoever listens to the
mail's configuration set; ``reject`` is refused.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery, Request, Response

_SEND = "/v2/email/outbound-emails"


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail that SES took."""

    id: str
    at: float
    sender: str
    to: str
    subject: str
    text: str
    html: str
    tags: Mapping[str, str]

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "at": self.at,
            "from": self.sender,
            "to": self.to,
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "tags": dict(self.tags),
        }


class SesCore:
    """As much of SES as we use, and the mailbox of everybody who ever got a mail."""

    def __init__(self, clock: Clock, deliver: Deliver) -> None:
        self._clock = clock
        self._deliver = deliver
        self._callback_url = ""
        self.letters: list[Letter] = []

    def handle(self, request: Request) -> Response:
        """SendEmail, the mailbox's pages, and ``/_sim/mails`` for tests."""
        if request.path == _SEND:
            return self._send(request)
        if request.path == "/_sim/config":
            self._callback_url = str(request.json()["callback_url"])
            return Response.of(200, {"callback_url": self._callback_url})
        if request.path == "/_sim/mails":
            return Response.of(200, {"mails": [letter.view() for letter in self.letters]})
        if request.method == "GET" and request.path in ("", "/"):
            return _page("Mailbox", _list(self.letters))
        parts = request.path.strip("/").split("/")
        letter = next((each for each in self.letters if parts[:1] == ["mails"] and parts[1:2] == [each.id]), None)
        if letter is None:
            return _error(404, "NotFoundException", "There is no such mail.")
        if parts[2:] == ["html"]:
            return Response(200, {"content-type": "text/html; charset=utf-8"}, letter.html.encode())
        return _page(letter.subject, _letter(letter))

    def _send(self, request: Request) -> Response:
        try:
            body = request.json()
            content = body["Content"]["Simple"]
            (to,) = body["Destination"]["ToAddresses"]
            sender, subject = body["FromEmailAddress"], content["Subject"]["Data"]
            text, page = content["Body"]["Text"]["Data"], content["Body"]["Html"]["Data"]
            tags = {tag["Name"]: tag["Value"] for tag in body.get("EmailTags", [])}
        except (ValueError, KeyError, TypeError) as error:
            return _error(400, "BadRequestException", f"The request lacks {error}.")
        if to.startswith("reject"):
            return _error(400, "MessageRejected", "Email address is not verified.")
        letter = Letter(f"{len(self.letters) + 1:04d}", self._clock(), sender, to, subject, text, page, tags)
        self.letters.append(letter)
        report = _report(letter, body.get("ConfigurationSetName", ""))
        if report and self._callback_url:
            self._deliver(Delivery(self._callback_url, {}, json.dumps(report).encode()))
        return Response.of(200, {"MessageId": letter.id})


def _report(letter: Letter, configuration_set: str) -> dict[str, Any] | None:
    """SES's event record of what became of a letter, for those of which it publishes one."""
    at = datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    recipients = [{"emailAddress": letter.to}]
    if not configuration_set:
        return None
    mail = {
        "timestamp": at,
        "source": letter.sender,
        "messageId": letter.id,
        "destination": [letter.to],
        "tags": {"ses:configuration-set": [configuration_set], **{name: [tag] for name, tag in letter.tags.items()}},
    }
    if letter.to.startswith("bounce"):
        failed = {"action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
        bounce = {"bounceType": "Permanent", "bounceSubType": "General", "timestamp": at, "feedbackId": letter.id}
        return {
            "eventType": "Bounce",
            "bounce": {**bounce, "bouncedRecipients": [{**each, **failed} for each in recipients]},
            "mail": mail,
        }
    if letter.to.startswith("complaint"):
        complaint = {"complaintFeedbackType": "abuse", "timestamp": at, "feedbackId": letter.id}
        return {
            "eventType": "Complaint",
            "complaint": {**complaint, "complainedRecipients": recipients},
            "mail": mail,
        }
    return None


def _error(status: int, code: str, message: str) -> Response:
    return Response.of(status, {"message": message}, {"x-amzn-errortype": code})


def _list(letters: Sequence[Letter]) -> str:
    if not letters:
        return "<p class=quiet>No mail yet. Place an order and pay for it.</p>"
    rows = "".join(
        f"<a class=row href='mails/{letter.id}'><span class=to>{html.escape(letter.to)}</span>"
        f"<span class=subject>{html.escape(letter.subject)}</span><span class=at>{_time(letter.at)}</span></a>"
        for letter in reversed(letters)
    )
    return f"<div class=list>{rows}</div>"


def _letter(letter: Letter) -> str:
    facts = "".join(
        f"<tr><th>{name}<td>{html.escape(value)}"
        for name, value in (
            ("From", letter.sender),
            ("To", letter.to),
            ("Sent", _time(letter.at)),
            ("Tags", ", ".join(f"{name} {value}" for name, value in letter.tags.items())),
        )
    )
    page = html.escape(letter.html)
    return (
        f"<p><a href='../'>← all mails</a></p><table class=facts>{facts}</table><div class=both>"
        f"<section><h2>HTML <a href='{letter.id}/html'>alone</a></h2>"
        f"<iframe sandbox='allow-same-origin' title='the mail as a page' srcdoc='{page}'></iframe></section>"
        f"<section><h2>Plain text</h2><pre>{html.escape(letter.text)}</pre></section></div>"
    )


def _page(title: str, body: str) -> Response:
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>{_STYLE}"
    page += f"<main><h1>{html.escape(title)}</h1>{body}</main></html>"
    return Response(200, {"content-type": "text/html; charset=utf-8"}, page.encode())


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y %H:%M:%S UTC")


_STYLE = """<style>
body{margin:0;background:#f8fafc;color:#1e293b;font:15px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px}
h1{font-size:22px} h2{font-size:14px;color:#64748b;font-weight:600} a{color:#1d4ed8}
.quiet{color:#64748b}
.list{background:#fff;border:1px solid #e2e8f0;border-radius:8px;overflow:hidden}
.row{display:grid;grid-template-columns:240px 1fr auto;gap:16px;padding:12px 16px;color:inherit;text-decoration:none}
.row+.row{border-top:1px solid #e2e8f0} .row:hover{background:#f1f5f9}
.subject{font-weight:600} .to,.at{color:#64748b} .at{white-space:nowrap;font-size:13px}
h2 a{font-weight:400;margin-left:8px}
.facts th{text-align:left;color:#64748b;font-weight:400;padding-right:16px}
.both{display:grid;grid-template-columns:3fr 2fr;gap:20px} iframe{width:100%;height:820px}
iframe,pre{border:1px solid #e2e8f0;border-radius:8px;background:#fff;box-sizing:border-box;margin:0}
pre{padding:16px;white-space:pre-wrap;font-size:13px}
@media(max-width:760px){.row,.both{grid-template-columns:minmax(0,1fr)} .row{gap:2px}}
</style>"""
