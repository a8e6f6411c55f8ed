# Reads and writes safetensors files: an 8-byte length, a JSON header, the tensors.
# SPDX-License-Identifier: Apache-2.0
import json
import struct

import torch

NAMES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


def write_safetensors(path, tensors):
    """tensors: name -> contiguous CPU tensor. Names in sorted order, header padded to 8 bytes."""
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        integer = torch.int32 if tensor.element_size() == 4 else torch.int16
        blob = tensor.view(integer).numpy().tobytes()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def read_safetensors(path):
    """name -> tensor of the file."""
    with open(path, "rb") as file:
        raw = file.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = next(t for t, text in NAMES.items() if text == entry["dtype"])
        integer = torch.int32 if entry["dtype"] == "F32" else torch.int16
        start, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(raw[8 + size + start : 8 + size + end]), dtype=integer)
        tensors[name] = flat.view(dtype).view(entry["shape"])
    return tensors
