"""Pictures of coloured shapes with questions and answers, for the demo model.

A scene is 1 to 4 coloured shapes, each in a place of its own on a 3 x 3 grid, over a plain,
shaded, striped or speckled background. The grid lies on the picture's centre square, because that
is what LLaVA-1.5's image processor keeps (shortest edge resized, then a centre crop): every
question can be answered from what the model sees, however long the picture is.

Everything follows from (split, index): the same pair gives the same picture, and two splits never
share a random stream. Run as a program it writes the pictures of golden/demo/pictures.
"""

import argparse
import colorsys
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

TRAIN, EVAL, EXAMPLES = 1, 2, 3  # splits

SHAPES = ("circle", "square", "triangle", "cross")
HUES = {"red": 0, "orange": 28, "yellow": 54, "green": 125, "blue": 225, "purple": 285}  # degrees
COLOURS = tuple(HUES)
BACKGROUNDS = ("plain", "shaded", "striped", "speckled")
PLACES = (
    "at the top left", "at the top", "at the top right",
    "on the left", "in the middle", "on the right",
    "at the bottom left", "at the bottom", "at the bottom right",
)  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four")
MODES = ("RGB", "RGBA", "P")  # how the PNG stores its pixels


class Thing(NamedTuple):
    place: int  # index into PLACES: row * 3 + column
    colour: str
    shape: str

    def __str__(self):
        return f"{self.colour} {self.shape}"


class Scene(NamedTuple):
    size: tuple[int, int]  # width, height in pixels
    background: str
    things: tuple[Thing, ...]  # in reading order, which is the order in which answers name them
    mode: str


class Question(NamedTuple):
    kind: str
    text: str
    answer: str


def random_stream(split, index):
    """The random numbers of picture `index` of a split."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([split, index])))


# --- scenes and their pictures -------------------------------------------------------------------


def make_scene(rng, largest=400):
    """A random scene; sides between 60 and `largest` pixels, the longer at most 3 times the other."""
    short = int(rng.integers(60, largest // 2 + 1))
    long = min(largest, int(short * rng.uniform(1.0, 3.0)))
    size = (short, long) if rng.random() < 0.4 else (long, short)
    count = int(rng.choice((1, 2, 3, 4), p=(0.2, 0.3, 0.3, 0.2)))
    places = sorted(rng.choice(len(PLACES), count, replace=False).tolist())
    # A second shape is often a copy of the first, or the answer to "How many?" would mostly be one.
    shapes = []
    for _ in places:
        again = shapes and rng.random() < 0.3
        shapes.append(shapes[0] if again else SHAPES[rng.integers(len(SHAPES))])
    things = tuple(Thing(p, COLOURS[rng.integers(len(COLOURS))], s) for p, s in zip(places, shapes))
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    return Scene(size, background, things, str(rng.choice(MODES, p=(0.9, 0.05, 0.05))))


def paint_background(rng, scene):
    """An array [height, width, 3] of muted colours; shapes are saturated, so they always show."""
    width, height = scene.size
    side = min(width, height)
    y, x = np.mgrid[0:height, 0:width] / side
    base = rng.uniform(50, 205) + rng.uniform(-12, 12, 3)
    turn = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)  # distance along a random direction, in sides
    strength = rng.uniform(25, 45)
    if scene.background == "shaded":
        wave = 2 * (along - along.min()) / (along.max() - along.min()) - 1
        wave, strength = wave[..., None], strength + 15
    elif scene.background == "striped":
        wave = np.where(np.floor(along * rng.uniform(8, 14)) % 2, 1.0, -1.0)[..., None]
    elif scene.background == "speckled":
        grain = max(1, side // 32)
        specks = rng.uniform(-1, 1, (height // grain + 1, width // grain + 1, 1))
        wave = specks.repeat(grain, 0).repeat(grain, 1)[:height, :width]
    else:
        wave = np.zeros((height, width, 1))
    return np.clip(base + strength * wave, 0, 255).astype(np.uint8)


def corners(shape, x, y, radius, turn):
    """The polygon [(x, y), ...] of a shape around (x, y), turned by a small angle."""
    if shape == "square":
        points = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    elif shape == "triangle":
        points = [(0, -1), (0.95, 0.8), (-0.95, 0.8)]
    else:  # a cross: the corners of its four arms, clockwise
        a = 0.33
        points = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
        points += [(a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
    c, s = np.cos(turn), np.sin(turn)
    return [(x + radius * (c * u - s * v), y + radius * (s * u + c * v)) for u, v in points]


def paint_thing(rng, draw, thing, size):
    """Draws one shape inside its cell of the centre square."""
    side = min(size)
    cell = side / 3
    radius = cell * rng.uniform(0.32, 0.44)
    slack = 0.47 * cell - radius
    row, column = divmod(thing.place, 3)
    x = (size[0] - side) / 2 + (column + 0.5) * cell + rng.uniform(-slack, slack)
    y = (size[1] - side) / 2 + (row + 0.5) * cell + rng.uniform(-slack, slack)
    hue = (HUES[thing.colour] + rng.uniform(-6, 6)) / 360 % 1
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0.8, 1), rng.uniform(0.8, 1))
    fill = tuple(int(255 * v) for v in rgb)
    if thing.shape == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    else:
        draw.polygon(corners(thing.shape, x, y, radius, rng.uniform(-0.15, 0.15)), fill=fill)


def paint(rng, scene):
    """The picture of a scene, a PIL image of the scene's mode."""
    picture = Image.fromarray(paint_background(rng, scene))
    draw = ImageDraw.Draw(picture)
    for thing in scene.things:
        paint_thing(rng, draw, thing, scene.size)
    if scene.mode == "RGBA":  # opaque in the middle, fading outwards: the model ignores alpha
        width, height = scene.size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        alpha = np.clip(320 - 160 * np.hypot(x, y), 0, 255).astype(np.uint8)
        picture.putalpha(Image.fromarray(alpha))
    elif scene.mode == "P":
        picture = picture.quantize(64)
    return picture


def make_picture(split, index, largest=400):
    """Picture `index` of a split: (PIL image, scene, the stream, for drawing questions)."""
    rng = random_stream(split, index)
    scene = make_scene(rng, largest)
    return paint(rng, scene), scene, rng


# --- questions -----------------------------------------------------------------------------------


def with_article(words):
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(shape):
    return "crosses" if shape == "cross" else shape + "s"


def sentence(words):
    return words[0].upper() + words[1:] + "."


def listed(names):
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def all_questions(scene):
    """Every question that has one right answer for this scene: {kind: [Question, ...]}."""
    things, found = scene.things, {}

    def ask(kind, text, answer):
        found.setdefault(kind, []).append(Question(kind, text, sentence(answer)))

    ask("contents", "What is in the picture?", listed([with_article(str(t)) for t in things]))
    number = NUMBERS[len(things)]
    ask("total", "How many shapes are there?",
        f"there is {number} shape" if len(things) == 1 else f"there are {number} shapes")  # fmt: skip
    ask("background", "What is the background like?", f"the background is {scene.background}")
    for shape in SHAPES:
        same = [t for t in things if t.shape == shape]
        name = shape if len(same) == 1 else plural(shape)
        verb = "is" if len(same) == 1 else "are"
        ask("count", f"How many {plural(shape)}?", f"there {verb} {NUMBERS[len(same)]} {name}")
        ask("presence", f"Is there {with_article(shape)}?",
            f"yes, there is {with_article(shape)}" if same else f"no, there is no {shape}")  # fmt: skip
        if len(same) == 1:
            ask("colour", f"What colour is the {shape}?", f"the {shape} is {same[0].colour}")
    for thing in things:
        if sum(str(t) == str(thing) for t in things) == 1:
            ask("where", f"Where is the {thing}?", f"the {thing} is {PLACES[thing.place]}")
        ask("place", f"What is {PLACES[thing.place]}?", with_article(str(thing)))
    for place in set(range(len(PLACES))) - {t.place for t in things}:
        if len(found.get("nothing", ())) < len(things):
            ask("nothing", f"What is {PLACES[place]}?", "there is nothing")
    return found


def draw_questions(rng, scene, count, weights=None):
    """`count` questions: a kind first, then one of that kind, so that no kind drowns the others.
    Kinds are equally likely but for those that `weights` names: {kind: times as likely}."""
    found = all_questions(scene)
    found["place"] += found.pop("nothing")
    kinds = list(found)
    likely = np.array([(weights or {}).get(kind, 1.0) for kind in kinds])
    picked = rng.choice(len(kinds), count, p=likely / likely.sum())
    return [found[kinds[k]][rng.integers(len(found[kinds[k]]))] for k in picked]


# --- the pictures that are committed -------------------------------------------------------------

EXAMPLE_INDICES = (0, 1, 2, 3, 4, 5)


def write_examples(folder):
    """Six small pictures that between them hold every background and every mode."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in EXAMPLE_INDICES:
        rng = random_stream(EXAMPLES, index)
        scene = make_scene(rng, largest=240)
        scene = scene._replace(background=BACKGROUNDS[index % 4],
                               mode=("RGB", "RGBA", "RGB", "P", "RGB", "RGB")[index])  # fmt: skip
        picture = paint(rng, scene)
        name = f"{index}-{'-'.join(f'{t.colour}-{t.shape}' for t in scene.things)}.png"
        picture.save(folder / name, optimize=True)
        print(name, *scene.size, picture.mode, scene.background)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="golden/demo/pictures", type=pathlib.Path)
    write_examples(parser.parse_args().output)
