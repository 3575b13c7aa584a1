"""The versions of the Google Ads API that the SDK was made for, and the few of their messages and clients that are used here.

A version lives about a year (https://developers.google.com/google-ads/api/docs/sunset-dates, read 2026-11); which one is spoken is a setting.
Importing one takes half a second and 40 MB, so that only the one that is spoken is imported. It sends nothing.
"""

from importlib import import_module
from typing import Any, Final

NEWEST: Final = "v26"
VERSIONS: Final = ("v23", "v24", "v25", NEWEST)
"""In `google-ads` 34."""


class Version:
    """One version's raw protobuf classes, service clients and enums. Raises ValueError for one that the SDK does not have."""

    def __init__(self, name: str) -> None:
        if name not in VERSIONS:
            raise ValueError(f"the installed SDK speaks {', '.join(VERSIONS)}")
        self.name = name
        self.failure_key = f"google.ads.googleads.{name}.errors.googleadsfailure-bin"
        self.failure: Any = self._type("errors", "errors", "GoogleAdsFailure").pb()
        jobs, lists = "offline_user_data_job_service", "user_list_service"
        self.create_job = self._type("services", jobs, "CreateOfflineUserDataJobRequest")
        self.add_operations = self._type("services", jobs, "AddOfflineUserDataJobOperationsRequest")
        self.added = self._type("services", jobs, "AddOfflineUserDataJobOperationsResponse")
        self.run_job = self._type("services", jobs, "RunOfflineUserDataJobRequest")
        self.mutate_lists = self._type("services", lists, "MutateUserListsRequest")
        self.search = self._type("services", "google_ads_service", "SearchGoogleAdsStreamRequest")
        self.row = self._type("services", "google_ads_service", "GoogleAdsRow")
        self.jobs_client = self._client(jobs, "OfflineUserDataJobServiceClient")
        self.lists_client = self._client(lists, "UserListServiceClient")
        self.search_client = self._client("google_ads_service", "GoogleAdsServiceClient")

    def enum(self, name: str) -> Any:
        """The enum of this name, e.g. `ConsentStatus`."""
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        return getattr(self._type("enums", snake, f"{name}Enum"), name)

    def _type(self, room: str, module: str, name: str) -> Any:
        return getattr(import_module(f"google.ads.googleads.{self.name}.{room}.types.{module}"), name)

    def _client(self, service: str, name: str) -> Any:
        return getattr(import_module(f"google.ads.googleads.{self.name}.services.services.{service}"), name)
