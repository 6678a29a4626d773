"""A port of LLaVA to try llava-ref on: transformers itself, with one bug. Writes its tensors to port.npz.

    python tools/example_port.py
    llava-ref diagnose --model golden/plain/model --inputs golden/plain/inputs.npz --dump port.npz
"""

import numpy as np
import torch
from llava_capture import capture
from transformers import LlavaForConditionalGeneration

port = LlavaForConditionalGeneration.from_pretrained("golden/plain/model", dtype=torch.float32)
port.model.multi_modal_projector.act = torch.nn.GELU(approximate="tanh")  # the bug: config.json says erf

inputs = {name: torch.from_numpy(array) for name, array in np.load("golden/plain/inputs.npz").items()}
with torch.no_grad(), capture(port, "port.npz"):
    port(**inputs)
