"""Where packages come from: in the request itself, or from S3; checked before anything is kept (AWS: spec 1.2, 8).

Functions and layers take their zips here, so both are bounded and refused alike. A zip in the request is bounded by
what a request may be; one in S3 by what it may unpack to, which is why AWS sends people there with the large ones.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

from lamplighter.control import packages
from lamplighter.model.errors import (
    AccessDeniedException,
    CodeStorageExceededException,
    InvalidParameterValueException,
    ServiceError,
)
from lamplighter.neighbours.http import TooLarge
from lamplighter.neighbours.s3 import S3, S3Error
from lamplighter.store.contract import PackageReferences

CODE_STORAGE: Final = 80_530_636_800  # bytes per account and region (AWS: spec 1.9)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request says the package is: exactly one of the three."""

    zip_file: bytes | None = None
    s3_bucket: str | None = None
    s3_key: str | None = None
    s3_object_version: str | None = None
    s3_storage_mode: str | None = None
    image_uri: str | None = None
    kms_key_arn: str | None = None


class Content(NamedTuple):
    """A zip that can be unpacked, and the bytes that come out."""

    zip: bytes
    unzipped: int


class Sources:
    """`s3`: None if no endpoint is configured. `code_storage`: bytes of all packages per account and region."""

    def __init__(self, s3: S3 | None, references: PackageReferences, code_storage: int = CODE_STORAGE) -> None:
        self._s3 = s3
        self._references = references
        self._code_storage = code_storage

    async def content(self, source: Source, account: str, region: str, what: str = "function code") -> Content:
        """Raises what AWS says of a source that is not exactly one, cannot be had, is no package, or too large."""
        if source.zip_file is None:
            content = await self._fetch(source, region, what)
        elif source.s3_bucket is not None or source.s3_key is not None:
            raise InvalidParameterValueException(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
            )
        else:
            content = source.zip_file
            packages.check_size(len(content))
        unzipped = await asyncio.to_thread(packages.check, content)
        if await self._references.total_size(account, region) + len(content) > self._code_storage:
            raise CodeStorageExceededException("Code storage limit exceeded.")
        return Content(content, unzipped)

    async def _fetch(self, source: Source, region: str, what: str) -> bytes:
        bucket, key = source.s3_bucket, source.s3_key
        if bucket is None and key is None:
            raise InvalidParameterValueException(f"Please provide a source for {what}.")
        if bucket is None or key is None:
            missing = "S3Bucket" if bucket is None else "S3Key"
            raise InvalidParameterValueException(f"Please provide {missing} for {what} in S3.")
        if source.s3_storage_mode == "REFERENCE":
            raise InvalidParameterValueException(
                "Packages that stay in S3 (S3ObjectStorageMode REFERENCE) are not available in this installation."
            )
        if self._s3 is None:
            raise _refusal(
                "ServiceUnavailable", "No S3 endpoint is configured (option s3_endpoint); give the package as ZipFile."
            )
        try:
            return await self._s3.get(bucket, key, source.s3_object_version, region, packages.LARGEST_UNZIPPED)
        except TooLarge:
            raise InvalidParameterValueException(
                f"Unzipped size must be smaller than {packages.LARGEST_UNZIPPED} bytes"
            ) from None
        except S3Error as error:
            raise _told(error, bucket, key) from error


def _told(error: S3Error, bucket: str, key: str) -> ServiceError:
    """As AWS tells its callers: S3's own words, but for two things that callers can mend."""
    if error.code == "AccessDenied":
        return AccessDeniedException(
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            f"for {bucket}/{key}. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
        )
    if error.code == "PermanentRedirect" and error.region is not None:
        return _refusal(
            error.code, f"The bucket is in this region: {error.region}. Please use this region to retry the request"
        )
    return _refusal(error.code, error.message)


def _refusal(code: str, message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(
        f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    )
