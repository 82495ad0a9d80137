"""The one place where the parts are put together. Heavy parts are imported when they are first asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from oms.inventory.store import DynamoInventory
from oms.orders.store import DynamoOrders
from oms.runtime import aws
from oms.runtime.clock import Clock, utc_now
from oms.runtime.dynamo import Table
from oms.runtime.secrets import Secrets
from oms.runtime.settings import Settings

if TYPE_CHECKING:
    from oms.channels.health import DynamoHealth
    from oms.channels.importing import ImportOrders
    from oms.channels.port import Channel
    from oms.channels.reconcile import ReconcileChannel
    from oms.channels.sync import Changed, SyncChannel
    from oms.customers.automation import CountTouches
    from oms.customers.campaign_exports import ExportSegments
    from oms.customers.changing import ChangePeople
    from oms.customers.demands import KeepDemands
    from oms.customers.earning import EarnRewards
    from oms.customers.erasure import EraseCustomers
    from oms.customers.exporting import ExportPeople
    from oms.customers.giving import GiveGifts
    from oms.customers.joining import JoinPeople
    from oms.customers.keeping import KeepPeople
    from oms.customers.people import People
    from oms.customers.rebuilding import RebuildPeople
    from oms.customers.rewards import Rules as RewardRules
    from oms.customers.segment_book import KeepSegments
    from oms.customers.serving import ServePeople
    from oms.fulfillment.carrier import Carrier
    from oms.fulfillment.counter import CounterSales
    from oms.inventory.catalogue import Catalogue
    from oms.inventory.jobs import CatalogueJobs
    from oms.messages.feedback import HearOfMails
    from oms.messages.payment_links import SendPaymentLinks
    from oms.messages.preferences import KeepPreferences
    from oms.messages.telling import TellCustomers
    from oms.messages.vendors import TellVendors
    from oms.orders.actions import OfferActions
    from oms.orders.backordering import FillBackorders
    from oms.orders.coupon_book import CouponBook
    from oms.orders.crediting import CreditOrders
    from oms.orders.drafts import KeepDrafts
    from oms.orders.editing import EditOrders
    from oms.orders.ending import EndOrders
    from oms.orders.finding import FindOrders
    from oms.orders.holding import HoldOrders
    from oms.orders.notes import WriteNotes
    from oms.orders.placing import PlaceOrders
    from oms.orders.receipts import GiveReceipts
    from oms.orders.reservation import Reservations
    from oms.orders.returns import ReturnOrders
    from oms.orders.selling import SellByStaff
    from oms.orders.worklist import ListWork
    from oms.payments.apply import ApplyPayments
    from oms.payments.capturing import CaptureMoney
    from oms.payments.cases import Cases
    from oms.payments.disputes import AnswerDisputes
    from oms.payments.news import ProviderNews
    from oms.payments.port import PaymentGateway
    from oms.payments.settle import SettlePayments
    from oms.payments.tenders import RecordTenders
    from oms.payments.watching import WatchPayments, WebhookMark
    from oms.runtime.files import Files
    from oms.runtime.outbound import Transport
    from oms.runtime.rules import AtHand
    from oms.runtime.staff import StaffTokens
    from oms.webhooks.delivering import DeliverWebhooks, PublishEvents
    from oms.webhooks.subscriptions import KeepSubscriptions


@dataclass
class App:
    """Everything a function may need. Tests and the simulation give their own clock, transport or clients."""

    settings: Settings = field(default_factory=Settings.from_environment)
    clock: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    client: Callable[[str], Any] = aws.client
    _channels: dict[str, Channel] = field(default_factory=dict, repr=False)
    _gateways: dict[tuple[str, ...], PaymentGateway] = field(default_factory=dict, repr=False)

    # ---- AWS -----------------------------------------------------------------------------------------------------

    @cached_property
    def secrets(self) -> Secrets:
        return Secrets(lambda: self.client("secretsmanager"), self.monotonic)

    @cached_property
    def sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def files(self) -> Files:
        from oms.runtime.files import Files

        return Files(self.client("s3"), self.settings.require("files_bucket"))

    @cached_property
    def stepfunctions(self) -> Any:
        return self.client("stepfunctions")

    @cached_property
    def orders(self) -> DynamoOrders:
        return DynamoOrders(Table(self.client("dynamodb"), self.settings.require("orders_table")))

    @cached_property
    def inventory(self) -> DynamoInventory:
        return DynamoInventory(Table(self.client("dynamodb"), self.settings.require("inventory_table")))

    # ---- other people's services ---------------------------------------------------------------------------------

    @cached_property
    def transport(self) -> Transport:
        from oms.runtime.outbound import urllib3_transport

        return urllib3_transport()

    def gateway(self) -> PaymentGateway:
        """The payment provider, with the keys as they are now: a rotation needs no restart."""
        secret = self.secrets.get(self.settings.require("stripe_secret_id"))
        key = (secret["api_key"], *secret["webhook_secrets"])
        if key not in self._gateways:
            from oms.payments.gateway import StripeGateway, TransportClient

            self._gateways = {
                key: StripeGateway(
                    secret["api_key"],
                    secret["webhook_secrets"],
                    api_base=self.settings.stripe_api_base,
                    account=secret.get("account", ""),
                    http_client=TransportClient(self.transport),
                )
            }
        return self._gateways[key]

    def channel(self, name: str) -> Channel:
        """The adapter of a sales channel. Raises ``UnknownChannel``."""
        if name not in self._channels:
            from oms.channels.registry import build

            self._channels[name] = build(name, self.settings, self.secrets, self.transport, self.clock)
        return self._channels[name]

    @property
    def carrier(self) -> Carrier:
        from oms.fulfillment.easypost import EasyPostCarrier

        secret = self.secrets.get(self.settings.require("carrier_secret_id"))
        return EasyPostCarrier(secret["api_key"], api_base=self.settings.carrier_api_base, transport=self.transport)

    @cached_property
    def staff_tokens(self) -> StaffTokens:
        from oms.runtime.staff import StaffTokens

        return StaffTokens(self.settings.staff_issuer, self.settings.staff_jwks_url, self.transport, self.monotonic)

    # ---- use cases -------------------------------------------------------------------------------------------------

    @cached_property
    def catalogue(self) -> Catalogue:
        from oms.inventory.catalogue import Catalogue

        return Catalogue(self.inventory, self.clock)

    @cached_property
    def catalogue_jobs(self) -> CatalogueJobs:
        from oms.inventory.jobs import CatalogueJobs

        return CatalogueJobs(
            self.catalogue, self.files, self.clock, self.queue_catalogue_job, self.settings.import_rows_at_once
        )

    def queue_catalogue_job(self, job_id: str) -> None:
        """Let a worker go on with an import or export."""
        self.sqs.send_message(
            QueueUrl=self.settings.require("catalogue_jobs_queue_url"), MessageBody=json.dumps({"job_id": job_id})
        )

    @cached_property
    def reservations(self) -> Reservations:
        from oms.orders.reservation import Reservations

        return Reservations(self.orders, self.inventory)

    @cached_property
    def placing(self) -> PlaceOrders:
        from oms.orders.placing import PlaceOrders
        from oms.orders.priority_rules import current_rules
        from oms.runtime.rules import AtHand

        return PlaceOrders(
            self.orders,
            self.inventory,
            self.clock,
            self.gateway,
            self.token_keys,
            timedelta(seconds=self.settings.unpaid_expiry_seconds),
            timedelta(days=self.settings.order_token_days),
            self.coupons,
            self.gifts,
            AtHand(lambda: current_rules(self.orders.table), self.clock),
            self.orders_of,
            self.settings.capture_mode,
            self.settings.lapsing_authorizations,
        )

    def orders_of(self, customer_id: str) -> int | None:
        """How many orders the person behind a customer id has made; None when it cannot be read now: no sale waits."""
        from botocore.exceptions import ClientError

        try:
            profile = self.people.profile(customer_id)
        except ClientError:
            return None
        return profile.orders if profile else 0

    @cached_property
    def selling(self) -> SellByStaff:
        from oms.orders.selling import SellByStaff

        told = self.settings
        life = timedelta(hours=told.payment_link_hours)
        return SellByStaff(self.placing, told.staff_limits, life, told.merchant_pay_url)

    @cached_property
    def drafts(self) -> KeepDrafts:
        from oms.orders.drafts import KeepDrafts

        return KeepDrafts(self.selling)

    @cached_property
    def counter_sales(self) -> CounterSales:
        from oms.fulfillment.counter import CounterSales

        return CounterSales(self.orders, self.inventory, self.clock)

    @cached_property
    def receipts(self) -> GiveReceipts:
        from oms.orders.receipts import GiveReceipts

        return GiveReceipts(self.orders, self.inventory, self.settings.merchant_name, self.settings.merchant_tax_id)

    @cached_property
    def ending(self) -> EndOrders:
        from oms.orders.ending import EndOrders

        return EndOrders(self.orders, self.inventory, self.clock)

    @cached_property
    def backorders(self) -> FillBackorders:
        from oms.orders.backordering import FillBackorders

        return FillBackorders(self.orders, self.inventory, self.clock)

    @cached_property
    def crediting(self) -> CreditOrders:
        from oms.orders.crediting import CreditOrders

        return CreditOrders(self.orders, self.clock, self.settings.agent_refund_limit)

    @cached_property
    def editing(self) -> EditOrders:
        from oms.orders.editing import EditOrders

        return EditOrders(self.orders, self.inventory, self.clock, self.gateway)

    @cached_property
    def returns(self) -> ReturnOrders:
        from oms.orders.returning import ReturnPolicy
        from oms.orders.returns import ReturnOrders

        told = self.settings
        policy = ReturnPolicy(
            window_days=told.return_window_days,
            send_days=told.return_send_days,
            restocking_percent=told.return_restocking_percent,
            damaged_percent=told.return_damaged_percent,
            label_paid_by=told.return_label_paid_by,
            approval=told.return_approval,
        )
        return ReturnOrders(self.orders, self.inventory, self.clock, policy)

    @cached_property
    def holding(self) -> HoldOrders:
        from oms.orders.holding import HoldOrders

        return HoldOrders(self.orders, self.clock)

    @cached_property
    def offering(self) -> OfferActions:
        """The routes' own use cases on a store that writes nothing."""
        from oms.fulfillment.tracking import Troubles
        from oms.orders.actions import OfferActions, RehearsedOrders

        orders = RehearsedOrders(self.orders.table)
        return OfferActions(
            orders,
            replace(self.ending, orders=orders),
            replace(self.editing, orders=orders),
            replace(self.crediting, orders=orders),
            replace(self.holding, orders=orders),
            replace(self.returns, orders=orders),
            replace(self.notes, orders=orders),
            replace(self.payment_links, orders=orders),
            replace(self.disputes, orders=orders),
            replace(self.tenders, orders=orders),
            replace(self.counter_sales, orders=orders),
            Troubles(orders, self.clock),
            self.clock,
            bool(self.settings.mails_are_sent),
        )

    @cached_property
    def touches(self) -> CountTouches:
        from oms.customers.automation import CountTouches

        return CountTouches(self.orders, self.clock)

    @cached_property
    def finding(self) -> FindOrders:
        from oms.orders.finding import FindOrders

        return FindOrders(self.orders, self.clock, self.token_keys)

    @cached_property
    def worklist(self) -> ListWork:
        from oms.orders.worklist import ListWork

        return ListWork(self.orders, self.clock)

    @cached_property
    def payments(self) -> ApplyPayments:
        from oms.payments.apply import ApplyPayments

        return ApplyPayments(self.orders, self.inventory, self.clock)

    @cached_property
    def capturing(self) -> CaptureMoney:
        from oms.payments.capturing import CaptureMoney

        return CaptureMoney(self.orders, self.gateway, self.payments, self.clock)

    @cached_property
    def tenders(self) -> RecordTenders:
        from oms.payments.tenders import RecordTenders

        return RecordTenders(self.orders, self.clock)

    @cached_property
    def notes(self) -> WriteNotes:
        from oms.orders.notes import WriteNotes

        return WriteNotes(self.orders, self.clock)

    @cached_property
    def disputes(self) -> AnswerDisputes:
        from oms.payments.disputes import AnswerDisputes

        return AnswerDisputes(self.orders, self.clock)

    @cached_property
    def cases(self) -> Cases:
        from oms.payments.cases import Cases

        return Cases(self.orders.table)

    @cached_property
    def webhook_mark(self) -> WebhookMark:
        from oms.payments.watching import WebhookMark

        return WebhookMark(self.orders.table)

    def unmatched(self, intent: str, order_id: str, amount: int, currency: str) -> None:
        """Write money down that belongs to no order of ours."""
        from oms.payments.watching import open_unmatched

        after = timedelta(hours=self.settings.unmatched_refund_hours)
        open_unmatched(self.cases, intent, order_id, amount, currency, self.clock(), after)

    def news(self) -> ProviderNews:
        """What is heard of refunds, disputes and doubts, with the provider's keys as they are now."""
        from oms.payments.news import ProviderNews

        return ProviderNews(self.orders, self.gateway(), self.ending, self.clock, self.settings.fraud_action)

    def watching(self, time_left: Callable[[], float]) -> WatchPayments:
        """The scheduled looks at the provider, with so many seconds left for them."""
        from oms.payments.watching import WatchPayments

        return WatchPayments(
            self.orders,
            self.gateway(),
            self.payments,
            self.clock,
            self.queue_payment_event,
            timedelta(hours=self.settings.unmatched_refund_hours),
            time_left,
        )

    def queue_payment_event(self, event: Mapping[str, Any]) -> None:
        """Keep a payment event for whoever applies it."""
        self.sqs.send_message(QueueUrl=self.settings.require("payment_events_queue_url"), MessageBody=json.dumps(event))

    def settling(self) -> SettlePayments:
        """Refunds and cancellations at the provider, with its keys as they are now."""
        from oms.payments.settle import SettlePayments

        return SettlePayments(self.orders, self.gateway(), self.payments, self.clock)

    @cached_property
    def message_preferences(self) -> KeepPreferences:
        from oms.messages.preferences import KeepPreferences

        return KeepPreferences(self.orders.table)

    @cached_property
    def telling(self) -> TellCustomers:
        from oms.messages.rendering import Merchant
        from oms.messages.ses import SesNotifier
        from oms.messages.telling import TellCustomers

        settings = self.settings
        merchant = Merchant(
            name=settings.merchant_name or "Our shop",
            colour=settings.merchant_colour,
            logo_url=settings.merchant_logo_url,
            reply_to=settings.mail_reply_to,
            order_url=settings.merchant_order_url,
            pay_url=settings.merchant_pay_url,
            zone=settings.merchant_zone,
            language=settings.mail_language,
        )

        def notifier() -> SesNotifier:
            return SesNotifier(
                self.client("sesv2"),
                sender=settings.require("mail_from"),
                reply_to=settings.mail_reply_to,
                configuration_set=settings.mail_configuration_set,
            )

        return TellCustomers(
            self.orders,
            self.inventory,
            self.message_preferences,
            notifier if settings.mail_from else None,
            merchant,
            self.clock,
            self.collection_code,
            lambda order: self.placing.token(order),
        )

    @cached_property
    def telling_vendors(self) -> TellVendors:
        from oms.messages.vendors import TellVendors

        told = self.telling
        return TellVendors(
            self.orders, self.inventory, self.message_preferences, told.notifier, told.merchant, self.clock
        )

    def tell_vendors(self, order_id: str, number: int, type: str) -> None:
        """What an event of this type may mean for vendors who send for us. Raises ``NotToldYet``."""
        from oms.fulfillment.dropship import DropShip
        from oms.messages.kinds import VENDOR_CAUSES

        if type in VENDOR_CAUSES:
            DropShip(self.orders, self.inventory, self.clock).note_withdrawn(order_id)
            self.telling_vendors.tell(order_id, number)

    @cached_property
    def payment_links(self) -> SendPaymentLinks:
        from oms.messages.payment_links import SendPaymentLinks

        return SendPaymentLinks(self.orders, self.clock, self.settings.merchant_pay_url)

    @cached_property
    def mail_feedback(self) -> HearOfMails:
        from oms.messages.feedback import HearOfMails

        return HearOfMails(self.orders, self.message_preferences, self.clock)

    # ---- the merchant's own systems ------------------------------------------------------------------------------

    @cached_property
    def subscriptions(self) -> KeepSubscriptions:
        from oms.webhooks.sealing import Sealer
        from oms.webhooks.subscriptions import KeepSubscriptions

        def keys() -> list[str]:
            found: list[str] = self.secrets.get(self.settings.require("sealing_secret_id"))["keys"]
            return found

        return KeepSubscriptions(self.orders.table, Sealer(keys))

    @cached_property
    def subscriber_transport(self) -> Transport:
        from oms.webhooks.egress import pinned_transport

        return pinned_transport(local=self.settings.stage == "local")

    @cached_property
    def publishing(self) -> PublishEvents:
        from oms.webhooks.delivering import PublishEvents

        return PublishEvents(self.orders, self.subscriptions, self.wake_delivery, self.clock)

    @cached_property
    def delivering(self) -> DeliverWebhooks:
        from oms.webhooks.delivering import DeliverWebhooks

        return DeliverWebhooks(
            self.orders, self.subscriptions, self.subscriber_transport, self.wake_delivery, self.clock
        )

    def wake_delivery(self, subscription_id: str, delay: int) -> None:
        """Queue a delivery, ``delay`` seconds from now."""
        self.sqs.send_message(
            QueueUrl=self.settings.require("deliveries_queue_url"),
            MessageBody=json.dumps({"subscription_id": subscription_id}),
            DelaySeconds=delay,
        )

    def check_subscriber(self, url: str) -> None:
        """Raises ``InvalidRequest`` for a URL that we do not send to, as far as its spelling tells."""
        from oms.runtime.http import field_problem
        from oms.webhooks.egress import UrlRefused, check_url

        try:
            check_url(url, local=self.settings.stage == "local")
        except UrlRefused as refused:
            raise field_problem([("url", str(refused))]) from None

    @cached_property
    def importing(self) -> ImportOrders:
        from oms.channels.following import FollowChannel
        from oms.channels.importing import ImportOrders

        following = FollowChannel(self.orders, self.inventory, self.ending, self.clock)
        return ImportOrders(self.channel, self.placing, following, self.inventory, self.queue_channel_event, self.clock)

    def queue_channel_event(self, channel: str, external_id: str) -> None:
        """Keep a marketplace order for another try."""
        self.sqs.send_message(
            QueueUrl=self.settings.require("channel_events_queue_url"),
            MessageBody=json.dumps({"channel": channel, "external_id": external_id}),
        )

    def syncing(self, channel: str, owner: str) -> SyncChannel:
        """Pushing to one channel, under ``owner``'s leases."""
        from oms.channels.sync import SyncChannel

        return SyncChannel(self.channel(channel), self.inventory, self.health, self.importing.take, self.clock, owner)

    def reconciling(self, channel: str, send: Callable[[Sequence[Changed]], None]) -> ReconcileChannel:
        """Reading one channel back; ``send`` queues what has to be pushed again."""
        from oms.channels.reconcile import DynamoReconciliations, ReconcileChannel

        records = DynamoReconciliations(self.inventory.table)
        return ReconcileChannel(self.channel(channel), self.inventory, records, self.importing.take, send, self.clock)

    @cached_property
    def demands(self) -> KeepDemands:
        from oms.customers.demands import KeepDemands

        return KeepDemands(self.orders, self.clock)

    @cached_property
    def erasing(self) -> EraseCustomers:
        from oms.customers.erasure import EraseCustomers

        return EraseCustomers(self.orders, self.demands, self.people, self.keeping, self.finding, self.clock)

    @cached_property
    def coupons(self) -> CouponBook:
        from oms.orders.coupon_book import CouponBook

        return CouponBook(self.orders.table, self.people.person_of)

    @cached_property
    def reward_rules(self) -> AtHand[RewardRules]:
        from oms.customers.rewards import current_rules
        from oms.runtime.rules import AtHand

        return AtHand(lambda: current_rules(self.orders.table), self.clock)

    @cached_property
    def gifts(self) -> GiveGifts:
        from oms.customers.giving import GiveGifts

        return GiveGifts(self.people, self.coupons, self.reward_rules, lambda skus: self.placing.products(skus))

    @cached_property
    def earning(self) -> EarnRewards:
        from oms.customers.earning import EarnRewards

        return EarnRewards(self.orders, self.people, self.coupons, self.reward_rules, self.clock)

    @cached_property
    def exporting_people(self) -> ExportPeople:
        from oms.customers.exporting import ExportPeople

        return ExportPeople(self.orders, self.demands, self.erasing, self.people, self.files, self.clock)

    @cached_property
    def serving_people(self) -> ServePeople:
        from oms.customers.retention import RetainOrders
        from oms.customers.serving import ServePeople

        retaining = RetainOrders(self.orders, self.erasing, self.clock, self.settings.personal_data_years)
        return ServePeople(self.demands, self.erasing, self.exporting_people, retaining, self.clock)

    @cached_property
    def people(self) -> People:
        from oms.customers.people import People

        return People(self.orders.table)

    @cached_property
    def keeping(self) -> KeepPeople:
        from oms.customers.keeping import KeepPeople

        return KeepPeople(self.orders, self.people, self.message_preferences, self.clock)

    @cached_property
    def joining(self) -> JoinPeople:
        from oms.customers.joining import JoinPeople

        return JoinPeople(self.orders, self.people, self.clock)

    @cached_property
    def rebuilding_people(self) -> RebuildPeople:
        from oms.customers.rebuilding import RebuildPeople

        def beside(order_id: str) -> None:
            self.finding.keep(order_id, again=True)
            self.touches.keep(order_id)

        return RebuildPeople(self.orders, self.keeping, self.clock, beside)

    @cached_property
    def changing_people(self) -> ChangePeople:
        from oms.customers.changing import ChangePeople

        return ChangePeople(self.people, self.joining, self.clock)

    @cached_property
    def segments(self) -> KeepSegments:
        from oms.customers.segment_book import KeepSegments

        return KeepSegments(self.orders.table, self.people, self.clock)

    @cached_property
    def campaign_exports(self) -> ExportSegments:
        from oms.customers.campaign_exports import ExportSegments

        return ExportSegments(
            self.people,
            self.message_preferences,
            self.files,
            self.settings.orders_table_arn,
            self.queue_campaign_export,
            self.clock,
        )

    def queue_campaign_export(self, export_id: str, delay: int) -> None:
        """Let a worker go on with an export of people, ``delay`` seconds from now."""
        self.sqs.send_message(
            QueueUrl=self.settings.require("campaign_exports_queue_url"),
            MessageBody=json.dumps({"export_id": export_id}),
            DelaySeconds=delay,
        )

    def queue_person_demand(self, channel: str, event_id: str) -> None:
        """Have a recorded demand carried out."""
        self._queue_for_people({"channel": channel, "person_demand": event_id})

    def queue_open_demands(self) -> None:
        """Have every open demand tried, and people forgotten whose time has come."""
        self._queue_for_people({"person_demands": "open"})

    def _queue_for_people(self, message: Mapping[str, str]) -> None:
        url = self.settings.require("customers_queue_url")
        self.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))

    def renew_token(self, channel: str, owner: str) -> bool:
        """Renew a channel's token if it lapses soon."""
        from oms.channels.tokens import GRANTS, RenewTokens

        if channel not in GRANTS:
            return False
        table, secrets = self.inventory.table, self.secrets
        renewing = RenewTokens(table, secrets, secrets.put, self.transport, self.clock, owner)
        secret_id = self.settings.require(f"{channel}_secret_id")
        return renewing.renew(channel, secret_id, self.settings.require(f"{channel}_oauth_base"))

    def channel_backlog(self, channel: str) -> int:
        """About how many messages wait for a channel."""
        url = self.settings.channel_queue_urls[channel]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    @cached_property
    def health(self) -> DynamoHealth:
        """The breakers and budgets of the channels."""
        from oms.channels.health import DynamoHealth

        return DynamoHealth(self.inventory.table, self.clock)

    def collection_code(self, order_id: str) -> str:
        """What the customer of an order shows at a counter."""
        from oms.fulfillment.pickups import collection_code

        return collection_code(order_id, self.token_keys()[0])

    def token_keys(self) -> list[str]:
        """The keys of order tokens, the signing one first."""
        keys: list[str] = self.secrets.get(self.settings.require("order_token_secret_id"))["keys"]
        return keys


_app: App | None = None


def app() -> App:
    """The process's application, made at the first call."""
    global _app
    if _app is None:
        _app = App()
    return _app


def use(replacement: App | None) -> None:
    """Put another application in place; None makes the next call build one from the environment."""
    global _app
    _app = replacement
