"""The tokenizer of a nanochat checkout, which speaks through the checkout's own interpreter.

Its files are Python objects on disk, which we don't load: whoever wrote them could make us run anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from laneb.corpus.checkout import Checkout, CheckoutError, last_words
from laneb.corpus.tokenizer import token_dtype
from laneb.records.base import utc_now
from laneb.records.corpus import TokenizerInfo
from laneb.storage.atomic import replace_file

CHECKOUT_FILE = "checkout.json"
SCRIPT = Path(__file__).with_name("read_checkout_tokenizer.py")
BATCH_DOCUMENTS = 256


class CheckoutTokenizer:
    """A checkout's tokenizer: text in, ids out. Holds a process of the checkout's interpreter until it is closed.

    Attributes:
        checkout: whose it is.
        base_dir: where the checkout keeps its data (NANOCHAT_BASE_DIR as the checkout understands it).
        data_dir: the folder of the files that the checkout's version trains on.
        vocab_size: tokens, specials included.
        bos_id: the id that begins every document.
        token_bytes: [vocab] int32: UTF-8 bytes that each token stands for; 0 for specials.

    Raises:
        CheckoutError: the checkout has no tokenizer, or its interpreter lacks its dependencies.
    """

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                [str(checkout.python), str(SCRIPT), str(checkout.directory)],
                cwd=checkout.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise CheckoutError(f"{checkout.python} can't be started: {error.strerror}") from error
        try:
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        line = self._output.readline()
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._failed("its tokenizer can't be read; train it there first (scripts.tok_train)") from None
        self.base_dir = Path(said["base_dir"])
        self.data_dir = Path(said["data_dir"])
        self.vocab_size = int(said["vocab_size"])
        self.bos_id = int(said["bos_id"])
        self.token_bytes: NDArray[np.int32] = np.array(said["token_bytes"], dtype=np.int32)
        if len(self.token_bytes) != self.vocab_size:
            raise CheckoutError(
                f"{self.checkout.directory}: its token_bytes have {len(self.token_bytes)} entries and its vocabulary "
                f"{self.vocab_size}: train its tokenizer again"
            )

    @cached_property
    def tokenizer_id(self) -> str:
        """Hash of the tokenizer's files, and so of every id that it gives."""
        digest = hashlib.sha256()
        folder = self.base_dir / "tokenizer"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.is_file():
                digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        digest.update(self.token_bytes.tobytes())
        return digest.hexdigest()[:16]

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """The ids of each text, without BOS.

        Returns:
            One array per text: uint16 [tokens] (uint32 above 65,536 tokens in the vocabulary).

        Raises:
            CheckoutError: the checkout's interpreter failed.
        """
        arrays: list[NDArray[Any]] = []
        for start in range(0, len(texts), BATCH_DOCUMENTS):
            arrays += self._ask(texts[start : start + BATCH_DOCUMENTS])
        return arrays

    def _ask(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        encoded = [text.encode("utf-8", "replace") for text in texts]
        request = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
        try:
            self._input.write(struct.pack("<I", len(texts)) + request)
            self._input.flush()
            return [self._ids() for _ in texts]
        except (OSError, struct.error, ValueError):
            raise self._failed("its tokenizer failed on a document") from None

    def _ids(self) -> NDArray[Any]:
        (count,) = struct.unpack("<I", self._output.read(4))
        ids = np.frombuffer(self._output.read(4 * count), dtype="<u4")
        if len(ids) != count:
            raise ValueError("the answer was cut")
        return ids.astype(token_dtype(self.vocab_size))

    def close(self) -> None:
        """End the checkout's process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _failed(self, what: str) -> CheckoutError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._errors.seek(0)
        return CheckoutError(f"{self.checkout.directory}: {what}: {last_words(self._errors.read())}")


def record_checkout_tokenizer(
    checkout: Checkout, directory: Path, *, dataset_id: str, sample: Sequence[str]
) -> TokenizerInfo:
    """Write where a checkout's tokenizer is found, and its bytes per token, into a directory.

    Args:
        checkout: whose tokenizer.
        directory: gets `checkout.json`, from which `load_checkout_tokenizer` opens it, and `token_bytes.npy`.
        dataset_id: name in the record.
        sample: documents on which the mean bytes per token are measured.

    Raises:
        CheckoutError: the tokenizer can't be read, or there is no text in the sample.
    """
    with CheckoutTokenizer(checkout) as tokenizer:
        tokens = sum(map(len, tokenizer.encode_batch(sample)))
        text_bytes = sum(len(text.encode("utf-8", "replace")) for text in sample)
        if tokens == 0:
            raise CheckoutError(f"{dataset_id}: no text to measure the checkout's tokenizer on")
        directory.mkdir(parents=True, exist_ok=True)
        array = io.BytesIO()
        np.save(array, tokenizer.token_bytes)
        replace_file(directory / "token_bytes.npy", array.getvalue())
        place = {"directory": str(checkout.directory), "python": str(checkout.python), "id": tokenizer.tokenizer_id}
        replace_file(directory / CHECKOUT_FILE, (json.dumps(place, indent=2, sort_keys=True) + "\n").encode())
        return TokenizerInfo(
            timestamp_utc=utc_now(),
            dataset_id=dataset_id,
            tokenizer_id=tokenizer.tokenizer_id,
            vocab_size=tokenizer.vocab_size,
            bos_id=tokenizer.bos_id,
            path=str(directory),
            trained_bytes=0,
            bytes_per_token=round(text_bytes / tokens, 6),
        )


def load_checkout_tokenizer(directory: Path) -> CheckoutTokenizer:
    """The tokenizer that `record_checkout_tokenizer` wrote down; close it after use.

    Raises:
        CheckoutError: nothing is written down there, or the checkout's tokenizer is another one by now.
    """
    try:
        place = json.loads((directory / CHECKOUT_FILE).read_text(encoding="utf-8"))
        checkout = Checkout(Path(place["directory"]), Path(place["python"]))
        wanted = str(place["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckoutError(
            f"{directory}: no checkout's tokenizer there ({error}). Materialize the tokenizer"
        ) from error
    tokenizer = CheckoutTokenizer(checkout)
    if tokenizer.tokenizer_id != wanted:
        tokenizer.close()
        raise CheckoutError(
            f"{checkout.directory}: its tokenizer was trained again since it was recorded in {directory}. Materialize "
            "the tokenizer"
        )
    return tokenizer
