"""Routes of what a person chose: channels by category, language, quiet hours, devices."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from guilder.kernel.errors import ValidationFailed
from guilder.notifications.api import Category, Channel, DeviceNotFound, TooManyDevices
from guilder.notifications.domain.preferences import (
    Preferences,
    QuietHours,
    is_fixed,
    time_zones,
)
from guilder.notifications.domain.records import Device
from guilder.notifications.http.feed import TAG
from guilder.notifications.service.reading import Choosing
from guilder.platform.http.fields import Label
from guilder.platform.http.route import Access, Answer, Request, Route

Language = Literal["en", "hi"]
TimeOfDay = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z",
    ),
]
ZoneName = Annotated[str, Meta(min_length=1, max_length=64)]
PushToken = Annotated[
    str,
    Meta(pattern=r"^[!-~]{1,4096}\Z"),
]


class QuietBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """When nothing but security is sent, in the person's time zone; the end comes next day
    where it is earlier than the beginning."""

    start: TimeOfDay = msgspec.field(name="from")
    end: TimeOfDay = msgspec.field(name="until")


class ChannelChoice(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which channels a category goes out on. What is left out is as by default."""

    in_app: bool | None = None
    email: bool | None = None
    sms: bool | None = None
    push: bool | None = None


class CategoryChoice(Struct, forbid_unknown_fields=True, kw_only=True):
    """Channels by category. Security in the app, by email and by push cannot be switched off."""

    security: ChannelChoice | None = None
    payments: ChannelChoice | None = None
    account: ChannelChoice | None = None
    marketing: ChannelChoice | None = None


class ChoosePreferences(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything that is chosen. What is left out is as by default again."""

    language: Language | None = None
    time_zone: ZoneName | None = None
    quiet_hours: QuietBody | None = None
    channels: CategoryChoice | None = None


class ChannelsBody(Struct, kw_only=True):
    """Which channels a category goes out on."""

    in_app: bool
    email: bool
    sms: bool
    push: bool


class CategoriesBody(Struct, kw_only=True):
    """Channels by category."""

    security: ChannelsBody
    payments: ChannelsBody
    account: ChannelsBody
    marketing: ChannelsBody


class PreferencesBody(Struct, kw_only=True):
    """What holds for a person, chosen or by default."""

    language: str
    time_zone: str
    quiet_hours: QuietBody | None
    channels: CategoriesBody


class AddDevice(Struct, forbid_unknown_fields=True, kw_only=True):
    """An app on a device: the token its push service gave it, and a name to know it by."""

    token: PushToken
    label: Label = "device"


class DeviceBody(Struct, kw_only=True):
    """A device that push messages go to."""

    id: UUID
    label: str
    added_at: datetime


class ChoosingRoutes:
    """The handlers behind the routes."""

    def __init__(self, choosing: Choosing) -> None:
        self._choosing = choosing

    async def look(self, request: Request) -> Answer:
        """What holds for the caller, chosen or by default."""
        return Answer(data=_body(await self._choosing.preferences(request.user.user_id)))

    async def choose(self, request: Request) -> Answer:
        """Replaces everything. Security notices are sent whatever is chosen."""
        chosen = _preferences(request.body, default=self._choosing.default)
        await self._choosing.choose(request.user.user_id, chosen)
        return Answer(data=_body(chosen))

    async def devices(self, request: Request) -> Answer:
        """Where the caller's push messages go."""
        found = await self._choosing.devices(request.user.user_id)
        return Answer(data=[_device(device) for device in found])

    async def add_device(self, request: Request) -> Answer:
        """A token belongs to one person: whoever registers it last. Repeating it is safe."""
        body: AddDevice = request.body
        device = await self._choosing.add_device(
            request.user.user_id, token=body.token, label=body.label
        )
        return Answer(data=_device(device))

    async def forget_device(self, request: Request) -> Answer:
        """Nothing is sent there any more."""
        await self._choosing.forget_device(request.user.user_id, device_id=request.id("device_id"))
        return Answer(data=None, status=204)

    def routes(self) -> tuple[Route, ...]:
        """Every route of choosing."""
        return (
            Route(
                method="GET",
                path="/notifications/preferences",
                handler=self.look,
                access=Access.ANY_CALLER,
                summary="Look at one's preferences",
                tag=TAG,
                answers=PreferencesBody,
            ),
            Route(
                method="PUT",
                path="/notifications/preferences",
                handler=self.choose,
                access=Access.ANY_CALLER,
                summary="Choose what to hear, where and when",
                tag=TAG,
                body=ChoosePreferences,
                answers=PreferencesBody,
                raises=(ValidationFailed,),
                example=_EXAMPLE,
            ),
            Route(
                method="GET",
                path="/notifications/devices",
                handler=self.devices,
                access=Access.ANY_CALLER,
                summary="List one's devices",
                tag=TAG,
                answers=list[DeviceBody],
            ),
            Route(
                method="POST",
                path="/notifications/devices",
                handler=self.add_device,
                access=Access.ANY_CALLER,
                summary="Register a device for push messages",
                tag=TAG,
                body=AddDevice,
                answers=DeviceBody,
                status=201,
                raises=(TooManyDevices,),
            ),
            Route(
                method="DELETE",
                path="/notifications/devices/{device_id}",
                handler=self.forget_device,
                access=Access.ANY_CALLER,
                summary="Forget a device",
                tag=TAG,
                status=204,
                raises=(DeviceNotFound,),
            ),
        )


_EXAMPLE: Final = {
    "language": "hi",
    "time_zone": "Asia/Kolkata",
    "quiet_hours": {"from": "22:00", "until": "07:00"},
    "channels": {"payments": {"sms": True}, "marketing": {"in_app": False}},
}


def _preferences(body: ChoosePreferences, *, default: Preferences) -> Preferences:
    quiet = None
    if body.quiet_hours is not None:
        quiet = QuietHours(
            start=time.fromisoformat(body.quiet_hours.start),
            end=time.fromisoformat(body.quiet_hours.end),
        )
    return Preferences(
        language=body.language or default.language,
        time_zone=_zone(body.time_zone) if body.time_zone else default.time_zone,
        quiet=quiet,
        choices=_choices(body.channels or CategoryChoice()),
    )


def _choices(said: CategoryChoice) -> dict[tuple[Category, Channel], bool]:
    choices = {}
    problems = {}
    for category in Category:
        chosen: ChannelChoice | None = getattr(said, category.value)
        for channel in Channel:
            wanted = None if chosen is None else getattr(chosen, channel.value)
            if wanted is False and is_fixed(category, channel):
                name = f"channels.{category.value}.{channel.value}"
                problems[name] = "is always on: it warns you when somebody else has your account"
            elif wanted is not None:
                choices[category, channel] = wanted
    if problems:
        raise ValidationFailed(fields=problems)
    return choices


def _zone(name: str) -> str:
    if name not in time_zones():
        reason = "must be the name of a time zone such as Asia/Kolkata"
        raise ValidationFailed(fields={"time_zone": reason})
    return name


def _body(preferences: Preferences) -> PreferencesBody:
    quiet = preferences.quiet
    by_category = {
        category.value: ChannelsBody(
            **{channel.value: preferences.wants(category, channel) for channel in Channel}
        )
        for category in Category
    }
    return PreferencesBody(
        language=preferences.language,
        time_zone=preferences.time_zone,
        quiet_hours=None
        if quiet is None
        else QuietBody(start=f"{quiet.start:%H:%M}", end=f"{quiet.end:%H:%M}"),
        channels=CategoriesBody(**by_category),
    )


def _device(device: Device) -> DeviceBody:
    return DeviceBody(id=device.id, label=device.label, added_at=device.added_at)
