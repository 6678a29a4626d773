"""Trains the demo model: a small LLaVA, from nothing, on generated pictures, in minutes on two cores.

It follows the recipe of LLaVA-1.5 (Liu et al. 2023, "Visual Instruction Tuning" and "Improved
Baselines with Visual Instruction Tuning") in small. The paper begins with a vision tower and a
language model that others trained; here both are made first:

  tokenizer   byte-pair merges of the Llama kind, learned from the questions and answers
  tower       the CLIP tower learns to see: it names the shape and the colour in each place and the
              background (the paper's CLIP learned from captions; this needs far fewer pictures)
  language    the language model learns to write: questions and answers without any picture
  projector   stage 1 of the paper, feature alignment: only the projector learns, from captions
  tuning      stage 2 of the paper, instruction tuning: the projector and the language model learn
              from all questions, the tower stays as it is

As in the paper the loss of the last two stages counts answers only, the picture's features are those of the last but one
tower layer without the class row, and the projector is linear - GELU - linear.

    python tools/make_demo_model.py                      # writes golden/demo/model
    python tools/make_demo_model.py --pictures 500 --effort 0.5 --output build/demo    # a quick trial

The same seed, thread count, library versions and kind of CPU give the same bytes.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import importlib.metadata
import json
import math
import multiprocessing
import os
import pathlib
import platform
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import demo_pictures as demo

IMAGE_SIZE, PATCH_SIZE = 60, 10
SIDE = IMAGE_SIZE // PATCH_SIZE
ROWS = SIDE**2  # picture rows that enter the language model
MERGED_VOCABULARY = 510  # with <image> and <pad> after it: 512
QUESTIONS_PER_PICTURE = 8  # drawn; the same question twice counts once
# In training the questions that need a search of the picture come more often than the easy ones.
WEIGHTS = {"where": 3, "colour": 3, "place": 2, "count": 2, "total": 0.5, "background": 0.5}
STAGES = {  # name: (epochs, batch, highest learning rate)
    "tower": (3, 64, 1e-3),
    "language": (0.5, 64, 1e-3),
    "projector": (0.2, 32, 1e-3),
    "tuning": (1.6, 16, 1e-3),
}
PROMPT = "USER: <image>\n{question} ASSISTANT:"  # the conversation format of LLaVA-1.5
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{# Render all text next #}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


# --- the tokenizer -------------------------------------------------------------------------------


def train_tokenizer(lines):
    """A tokenizer of the Llama kind: ▁ for a blank, byte pieces for what the vocabulary lacks."""
    blank = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Sequence(blank)
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # no merge across words
    characters = [chr(c) for c in range(0x21, 0x7F)] + ["▁"]
    learned = MERGED_VOCABULARY - 3 - 256
    trainer = trainers.BpeTrainer(vocab_size=learned, initial_alphabet=characters, show_progress=False)
    learner.train_from_iterator(lines, trainer)
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]

    # The order of Llama's vocabulary: three special tokens, the bytes, the merges, the characters.
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["".join(pair) for pair in merges] + sorted(characters)
    assert len(set(pieces)) == len(pieces) and len(pieces) <= MERGED_VOCABULARY
    vocabulary = {piece: i for i, piece in enumerate(pieces)}

    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(blank)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "<image>", "<pad>")]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def make_processor(lines):
    """The processor of LLaVA-1.5: CLIP's picture pipeline, and `<image>` written once per row."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    return LlavaProcessor(
        image_processor,
        train_tokenizer(lines),
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


# --- the model -----------------------------------------------------------------------------------


def make_model(tokenizer):
    vocabulary = math.ceil(len(tokenizer) / 64) * 64  # padded as llava-1.5 pads 32002 to 32064
    vision = CLIPVisionConfig(
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=128,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        image_seq_length=ROWS,
        multimodal_projector_bias=True,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


# --- the training set ----------------------------------------------------------------------------


def one_example(index):
    """A picture: (pixels after resize and crop [60, 60, 3] u8, shape and colour of each place [9],
    background, questions with answers, the caption first)."""
    picture, scene, rng = demo.make_picture(demo.TRAIN, index)
    pixels = shrink(images=picture)["pixel_values"][0].astype(np.uint8).transpose(1, 2, 0)
    shapes, colours = np.zeros((2, len(demo.PLACES)), np.int64)  # 0 where nothing is
    for thing in scene.things:
        shapes[thing.place] = 1 + demo.SHAPES.index(thing.shape)
        colours[thing.place] = 1 + demo.COLOURS.index(thing.colour)
    background = demo.BACKGROUNDS.index(scene.background)
    caption = demo.all_questions(scene)["contents"]
    drawn = demo.draw_questions(rng, scene, QUESTIONS_PER_PICTURE, WEIGHTS)
    questions = caption + list(dict.fromkeys(drawn))  # asking twice teaches little
    return pixels, shapes, colours, background, [(q.text, q.answer) for q in questions]


# The geometry of the processor without its arithmetic, so that the set is kept as bytes.
shrink = CLIPImageProcessorPil(
    size={"shortest_edge": IMAGE_SIZE},
    crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    do_rescale=False,
    do_normalize=False,
)


class TrainingSet:
    def __init__(self, count, workers):
        with multiprocessing.Pool(workers) as pool:
            columns = list(zip(*pool.map(one_example, range(count), chunksize=64)))
        self.questions = columns.pop()
        self.pixels, self.shapes, self.colours, self.backgrounds = (
            torch.from_numpy(np.stack(c)) for c in columns
        )

    def lines(self):
        """The text of the conversations, without pictures and line ends, for the tokenizer."""
        for questions in self.questions:
            yield "USER:"
            for question, answer in questions:
                yield PROMPT.format(question=question).split("\n")[1] + " " + answer

    def pixel_values(self, rows, processor):
        """What the processor makes of these pictures: [rows, 3, 60, 60] f32."""
        mean, std = (torch.tensor(v) for v in (processor.image_mean, processor.image_std))
        return ((self.pixels[rows] / 255 - mean) / std).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=None)
def tokenized(tokenizer, question, answer, picture_rows=ROWS):
    """The whole conversation, [3, tokens]: id, position, is it of the answer."""
    prompt = PROMPT.format(question=question).replace("<image>", "<image>" * picture_rows)
    ids = torch.tensor(tokenizer(f"{prompt} {answer}</s>").input_ids)
    position = torch.arange(len(ids))
    return torch.stack([ids, position, (position >= len(tokenizer(prompt).input_ids)).long()])


def pack(tokenizer, questions):
    """One picture's questions side by side: after the shared beginning "USER: <image>" every
    question is a branch that sees the beginning and itself. This computes exactly what separate
    conversations would, without going through the picture's rows once per question.

    Returns [4, tokens]: id, position, is it of an answer, branch (0 the shared beginning)."""
    texts = [tokenized(tokenizer, question, answer) for question, answer in questions]
    shared = int((texts[0][0] == tokenizer.image_token_id).nonzero()[-1]) + 1
    branches = [texts[0][:, :shared]] + [t[:, shared:] for t in texts]
    lengths = torch.tensor([b.shape[1] for b in branches])
    numbers = torch.arange(len(branches)).repeat_interleave(lengths)
    return torch.cat([torch.cat(branches, 1), numbers[None]])


def collate(packs, pad):
    """Packs of different lengths as one batch: ids, positions, labels [B, S], mask [B, 1, S, S]
    (true: the token of that row sees the token of that column). A label of -100 is not learned."""
    length = max(p.shape[1] for p in packs)
    batch = torch.stack([F.pad(p, (0, length - p.shape[1]), value=-1) for p in packs])
    ids, position, answer, branch = batch.unbind(1)
    same = branch[:, :, None] == branch[:, None, :]
    beginning = branch[:, None, :] == 0
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = ((same | beginning) & causal)[:, None]
    labels = ids.masked_fill(answer != 1, -100)
    return ids.masked_fill(ids < 0, pad), position.clamp(min=0), labels, mask


# --- training ------------------------------------------------------------------------------------


class Trainer:
    """AdamW with a short warm-up and a cosine decay, the same for every stage.

    Every thread takes its own part of a batch through the model and back, and the step is that of the
    mean of their gradients. Tensors of this size are too small to be shared among threads one
    operation at a time: the threads would wait for each other thousands of times a step, very long
    when other programs use the cores too."""

    def __init__(self, seed, effort, threads, log):
        self.order, self.effort, self.log = torch.Generator().manual_seed(seed), effort, log
        self.threads = concurrent.futures.ThreadPoolExecutor(threads)
        self.parts = threads

    def batches(self, lengths, size):
        """One epoch: every example once, in a new order, but for what is left over at the end.
        Examples of one batch are of similar length, so that little of it is padding."""
        order = torch.randperm(len(lengths), generator=self.order)
        batches = []
        for some in order.split(16 * size):
            batches += some[lengths[some].argsort(stable=True)].split(size)
        whole = [batch for batch in batches if len(batch) == size] or [order]
        return [whole[i] for i in torch.randperm(len(whole), generator=self.order)]

    def run(self, name, modules, lengths, loss_of):
        """Changes the parameters of `modules` only; `loss_of(rows)` is the loss of some examples.
        `lengths` says how long each example is."""
        epochs, size, rate = STAGES[name]
        parameters = [p for module in modules for p in module.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        steps = max(1, int(epochs * self.effort * len(lengths)) // size)
        left, average = [], None

        def gradients(rows):
            loss = loss_of(rows)
            return loss.item(), torch.autograd.grad(loss, parameters)

        for step in range(steps):
            left = left or self.batches(lengths, size)
            rows = left.pop()
            warm_up = min(1, (step + 1) / (0.05 * steps))
            decay = 0.51 + 0.49 * math.cos(math.pi * step / steps)
            optimizer.param_groups[0]["lr"] = rate * warm_up * decay
            parts = self.threads.map(gradients, [rows[part :: self.parts] for part in range(self.parts)])
            losses, derivatives = zip(*parts)
            for parameter, *of_parts in zip(parameters, *derivatives):
                # A linear layer's gradient comes transposed, and the fused optimizer reads memory as it lies.
                parameter.grad = sum(of_parts).contiguous() / self.parts
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            loss = sum(losses) / self.parts
            average = loss if average is None else 0.95 * average + 0.05 * loss
            if step % 100 == 99 or step == steps - 1:
                self.log(f"{name}: step {step + 1}/{steps}, loss {average:.4f}")


class PlaceHeads(torch.nn.Module):
    """What the tower is asked while it learns: the shape and the colour (or nothing) of each of the
    nine places, read from the mean of the 2 x 2 rows that lie there, and the background, read from
    the class row. Thrown away afterwards, as CLIP's text half is."""

    def __init__(self, width):
        super().__init__()
        self.shape = torch.nn.Linear(width, 1 + len(demo.SHAPES))
        self.colour = torch.nn.Linear(width, 1 + len(demo.COLOURS))
        self.background = torch.nn.Linear(width, len(demo.BACKGROUNDS))

    def forward(self, tower_output):
        """Logits [pictures * 9, 5], [pictures * 9, 7] and [pictures, 4]."""
        rows = tower_output.last_hidden_state[:, 1:]
        grid = rows.unflatten(1, (3, SIDE // 3, 3, SIDE // 3)).mean((2, 4))  # [pictures, 3, 3, width]
        places = F.layer_norm(grid, grid.shape[-1:]).flatten(0, 2)
        return self.shape(places), self.colour(places), self.background(tower_output.pooler_output)


def train_tower(trainer, model, data, processor):
    """The tower alone. Its last layer serves here only: the model reads the one before."""
    tower = model.model.vision_tower
    heads = PlaceHeads(tower.config.hidden_size)

    def loss_of(rows):
        named = heads(tower(data.pixel_values(rows, processor.image_processor)))
        right = data.shapes[rows].flatten(), data.colours[rows].flatten(), data.backgrounds[rows]
        return sum(F.cross_entropy(n, r) for n, r in zip(named, right))

    trainer.run("tower", [tower, heads], torch.ones(len(data.pixels)), loss_of)


def picture_features(trainer, model, data, processor):
    """What the frozen tower says of every picture: [pictures, rows, width]."""
    def features(rows):
        with torch.no_grad():
            pixels = data.pixel_values(rows, processor.image_processor)
            states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
            return states[model.config.vision_feature_layer][:, 1:]

    return torch.cat(list(trainer.threads.map(features, torch.arange(len(data.pixels)).split(64))))


def answer_loss(model, ids, positions, labels, mask, features=None):
    """Cross entropy of the answers' tokens. The pictures' projected features replace `<image>`."""
    embeds = model.get_input_embeddings()(ids)
    if features is not None:
        here = (ids == model.config.image_token_index)[..., None].expand_as(embeds)
        embeds = embeds.masked_scatter(here, model.model.multi_modal_projector(features))
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    asked = labels[:, 1:] != -100  # a token is predicted from the one before it
    return F.cross_entropy(model.lm_head(hidden[:, :-1][asked]), labels[:, 1:][asked])


def train_language(trainer, model, data, tokenizer):
    """The language model alone, on the text of the conversations, every token counted."""
    texts = [pair for questions in data.questions for pair in questions]
    ids = [tokenized(tokenizer, *pair, picture_rows=1)[0] for pair in texts[::5]]

    def loss_of(rows):
        batch = [ids[r] for r in rows]
        packs = [torch.stack([t, torch.arange(len(t)), t * 0 + 1, t * 0 + 1]) for t in batch]
        return answer_loss(model, *collate(packs, tokenizer.pad_token_id))

    modules = [model.model.language_model, model.lm_head]
    trainer.run("language", modules, torch.tensor([len(t) for t in ids]), loss_of)


def train_with_pictures(trainer, name, modules, model, packs, features, pad):
    """Stages 1 and 2 of the paper: the same loss, other questions, other modules that learn."""
    def loss_of(rows):
        return answer_loss(model, *collate([packs[r] for r in rows], pad), features[rows])

    trainer.run(name, modules, torch.tensor([p.shape[1] for p in packs]), loss_of)


def make_demo_model(options, log):
    torch.set_num_threads(1)  # of one operation: see Trainer
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a guard for memory that nobody reads
    torch.manual_seed(options.seed)
    trainer = Trainer(options.seed, options.effort, options.threads, log)

    data = TrainingSet(options.pictures, options.threads)
    log(f"{options.pictures} pictures with {QUESTIONS_PER_PICTURE} questions each")
    processor = make_processor(data.lines())
    tokenizer, pad = processor.tokenizer, processor.tokenizer.pad_token_id
    model = make_model(tokenizer)
    log(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokenizer)} tokens")
    projector, language = model.model.multi_modal_projector, model.model.language_model

    train_tower(trainer, model, data, processor)
    train_language(trainer, model, data, tokenizer)
    features = picture_features(trainer, model, data, processor)  # from here on the tower is frozen
    captions = [pack(tokenizer, questions[:1]) for questions in data.questions]
    train_with_pictures(trainer, "projector", [projector], model, captions, features, pad)
    packs = [pack(tokenizer, questions[1:]) for questions in data.questions]
    tuned = [projector, language, model.lm_head]
    train_with_pictures(trainer, "tuning", tuned, model, packs, features, pad)
    return model, processor


def save(model, processor, folder):
    """A folder as save_pretrained writes it, in float16 like the published checkpoints."""
    model.to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # preprocessor_config.json, as older files have


def write_provenance(options, seconds):
    """PROVENANCE.json beside the folder; tools/eval_demo_model.py --record adds the accuracy."""
    files = sorted(p for p in options.output.rglob("*") if p.is_file())
    packages = ("torch", "transformers", "tokenizers", "safetensors", "Pillow", "numpy")
    provenance = {
        "command": "python tools/make_demo_model.py",
        "options": {k: v for k, v in vars(options).items() if k != "output"},
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "training_seconds": {"wall": round(seconds), "cpu": round(sum(os.times()[:4]))},
        "sha256": {
            str(p.relative_to(options.output.parent)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        },
    }
    path = options.output.parent / "PROVENANCE.json"
    path.write_text(json.dumps(provenance, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="golden/demo/model", type=pathlib.Path)
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--pictures", default=30000, type=int)
    parser.add_argument("--effort", default=1.0, type=float, help="multiplies the epochs of every stage")
    options = parser.parse_args()
    start = time.time()

    def log(line):
        print(f"[{time.time() - start:5.0f} s] {line}", flush=True)

    save(*make_demo_model(options, log), options.output)
    write_provenance(options, time.time() - start)
    log(f"{options.output} written")


if __name__ == "__main__":
    main()
