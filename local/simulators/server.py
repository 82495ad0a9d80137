"""Every simulator core in one HTTP process: ``/stripe``, ``/easypost`` and one for each marketplace.

Cores only compute. Threads, time, sockets and the delivery of webhooks with their retries are here.
"""

from __future__ import annotations

import heapq
import http.client
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from local.simulators.amazon import AmazonCore
from local.simulators.core import Core, Deliver, Delivery, Request, Response
from local.simulators.easypost import EasyPostCore
from local.simulators.ebay import EbayCore
from local.simulators.etsy import EtsyCore
from local.simulators.ses import SesCore
from local.simulators.shopify import ShopifyCore
from local.simulators.stripe import StripeCore
from local.simulators.subscriber import SubscriberCore
from local.simulators.webhook import WebhookCore

logger = logging.getLogger("simulators")

DELIVERY_SECONDS = 15.0
COURIERS = 4
GIVE_UP_AFTER = 15
LONGEST_PAUSE = 60.0


@runtime_checkable
class Sender(Protocol):
    """A core that keeps account of its deliveries and signs each attempt anew."""

    def delivered(self, delivery: Delivery, status: int) -> Delivery | None:
        """Take note of an attempt (status 0: no answer); what comes back is to be tried next."""
        ...


class Host:
    """A core behind its lock."""

    def __init__(self, build: Callable[[Deliver], Core], deliver: Deliver) -> None:
        self._lock = threading.Lock()
        self._core = build(deliver)

    def handle(self, request: Request) -> Response:
        """One request at a time. A core must not raise; when one does, the log says where."""
        try:
            with self._lock:
                return self._core.handle(request)
        except Exception:
            logger.exception("core=%s %s %s", type(self._core).__name__, request.method, request.path)
            return Response.of(500, {"error": "a bug in the simulator: see its log"})

    def tick(self) -> None:
        """Let the core do what has fallen due: cores look at the clock first, whatever they are asked."""
        self.handle(Request("GET", "/_sim/tick"))

    def delivered(self, delivery: Delivery, status: int, attempt: int) -> Delivery | None:
        """What is to be tried next after this attempt."""
        if isinstance(self._core, Sender):
            with self._lock:
                return self._core.delivered(delivery, status)
        return None if 200 <= status < 300 or attempt >= GIVE_UP_AFTER else delivery


class Courier:
    """Sends deliveries, and sends them again with growing pauses until they are taken or given up."""

    def __init__(self, post: Callable[[Delivery], int], *, first_pause: float = 1.0) -> None:
        self._post = post
        self._first_pause = first_pause
        self._due: list[tuple[float, int, Host, Delivery, int]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(COURIERS)]

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the attempts under way end; what waits is dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=1.0)

    def take(self, host: Host, delivery: Delivery, *, attempt: int = 1, pause: float = 0.0) -> None:
        """Deliver after ``pause`` seconds."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._due, (time.monotonic() + pause, self._count, host, delivery, attempt))
            self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            host, delivery, attempt = job
            status = self._post(delivery)
            logger.info("delivery url=%s attempt=%d status=%d", delivery.url, attempt, status)
            again = host.delivered(delivery, status, attempt)
            if again is not None:
                pause = min(self._first_pause * 2 ** (attempt - 1), LONGEST_PAUSE)
                self.take(host, again, attempt=attempt + 1, pause=pause)

    def _next(self) -> tuple[Host, Delivery, int] | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, host, delivery, attempt = heapq.heappop(self._due)
                    return host, delivery, attempt
                self._changed.wait(wait)
        return None


class Simulators:
    """The whole process: hosts, couriers and the HTTP server."""

    def __init__(self, port: int, builders: Mapping[str, Callable[[Deliver], Core]]) -> None:
        self._courier = Courier(post)
        self.hosts = {name: self._host(build) for name, build in builders.items()}
        self._stopped = threading.Event()
        self._clockwork = threading.Thread(target=self._tick, daemon=True)
        self._server = _Server(("127.0.0.1", port), _handler(self.hosts))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self) -> None:
        """Serve until ``stop`` is called from another thread."""
        self._courier.start()
        self._clockwork.start()
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._stopped.set()
            self._server.server_close()
            self._courier.stop()

    def stop(self) -> None:
        """End ``serve``."""
        self._server.shutdown()

    def _host(self, build: Callable[[Deliver], Core]) -> Host:
        host: Host

        def deliver(delivery: Delivery) -> None:
            self._courier.take(host, delivery)

        host = Host(build, deliver)
        return host

    def _tick(self) -> None:
        while not self._stopped.wait(1.0):
            for host in self.hosts.values():
                host.tick()


def every_core(clock: Callable[[], float], seed: str) -> dict[str, Callable[[Deliver], Core]]:
    """How each simulator is made, by its path prefix."""
    return {
        "stripe": lambda deliver: StripeCore(clock, deliver, seed=seed),
        "etsy": lambda deliver: EtsyCore(clock, deliver),
        "ebay": lambda deliver: EbayCore(clock, deliver),
        "shopify": lambda deliver: ShopifyCore(clock, deliver),
        "amazon": lambda deliver: AmazonCore(clock, deliver),
        "webhook": lambda deliver: WebhookCore(clock, deliver),
        "subscriber": lambda deliver: SubscriberCore(clock, deliver),
        "ses": lambda deliver: SesCore(clock, deliver),
        "easypost": lambda deliver: EasyPostCore(clock, deliver, seed=seed),
    }


def post(delivery: Delivery) -> int:
    """Send once, over HTTP or, to an address that begins with ``sqs+``, into a queue; the status, or 0 when no answer
    came."""
    if delivery.url.startswith("sqs+"):
        return _enqueue(delivery)
    parts = urlsplit(delivery.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=DELIVERY_SECONDS)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", target, delivery.body, dict(delivery.headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        logger.info("delivery url=%s error=%r", delivery.url, error)
        return 0
    finally:
        connection.close()


def _enqueue(delivery: Delivery) -> int:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    url = delivery.url.removeprefix("sqs+")
    parts = urlsplit(url)
    try:
        boto3.client(
            "sqs",
            endpoint_url=f"{parts.scheme}://{parts.netloc}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the local cloud's root
        ).send_message(QueueUrl=url, MessageBody=delivery.body.decode())
    except (BotoCoreError, ClientError) as error:
        logger.info("delivery url=%s error=%r", delivery.url, error)
        return 0
    return 200


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(hosts: Mapping[str, Host]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65_536

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = Request.to(self.command, self.path, dict(self.headers.items()), body)
            response = _dispatch(hosts, request)
            if latency := response.headers.get("x-sim-latency-ms"):
                time.sleep(int(latency) / 1000)
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            logger.info(format, *args)

    return Handler


def _dispatch(hosts: Mapping[str, Host], request: Request) -> Response:
    if request.path == "/healthz":
        return Response.of(200, {"status": "ok", "simulators": sorted(hosts)})
    _, name, *rest = request.path.split("/", 2)
    if name not in hosts:
        return Response.of(404, {"error": "no such simulator", "simulators": sorted(hosts)})
    inner = Request(request.method, "/" + "".join(rest), request.query, request.headers, request.body)
    return hosts[name].handle(inner)
