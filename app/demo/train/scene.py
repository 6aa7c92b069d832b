"""What every scene is made of: word lists, colours, fonts, and the `Scene` that keeps what was drawn where."""
import os
import string

from PIL import Image, ImageDraw, ImageFont

FONT_DIR = os.environ.get("PICO_FONTS", os.path.join(os.path.dirname(os.path.abspath(__file__)), "fonts"))
HELD_OUT_FONTS = ("OpenSans-Regular.ttf", "NotoSerif-Regular.ttf")
COLOURS = {"red": (215, 35, 40), "green": (30, 150, 60), "blue": (40, 70, 210), "yellow": (240, 210, 40), "orange": (245, 135, 25),
           "purple": (130, 50, 160), "pink": (250, 140, 190), "black": (20, 20, 20)}
INKS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
CHARS = string.ascii_letters + string.digits + string.punctuation
CHAR_CLASS = {c: 1 + i for i, c in enumerate(CHARS)}
CLEAR = "".join(c for c in CHARS if c not in "IlO|")  # look-alikes of 1 and 0 in many fonts: left out where nothing else tells them apart
CODE_ALPHABETS = (CLEAR, "".join(c for c in CLEAR if c.isalnum()), "".join(c for c in CLEAR if c.isupper() or c.isdigit()),
                  "".join(c for c in CLEAR if c.isalpha()) + " ", string.ascii_lowercase + " ", string.digits + "-/.,:$%", string.digits)
SHAPE_CLASS = {(s, c): 1 + len(CHARS) + i * len(COLOURS) + j for i, s in enumerate(SHAPES) for j, c in enumerate(COLOURS)}
CLASS_COUNT = 1 + len(CHARS) + len(SHAPES) * len(COLOURS)
PLACES_A_SIDE = 16  # strips of 24 pixels, narrower than any chart's bars are apart
PLACE_COUNT = 1 + 2 * PLACES_A_SIDE
PARTNER_CHARS = 3  # a label's patches are taught the last characters of its value, the value's patches those of the label

WORDS = """apple river stone cloud green table window garden winter summer music paper light night morning evening bread water
coffee sugar lemon orange banana tomato pepper onion carrot cheese butter milk honey rice pasta salad soup cake cookie juice tea
train ticket station market street bridge castle tower village island ocean beach mountain valley forest desert road house door
chair lamp clock mirror carpet pillow blanket bottle glass plate spoon knife basket bag box key lock phone camera screen keyboard
paint brush pencil book page letter story poem song dance theatre museum school teacher student doctor nurse driver farmer baker
painter writer singer happy quick quiet bright dark heavy soft round square small large early late north south east west spring
open closed fresh cold warm sweet salt sale price total order number name date time city country parcel weight length height
silver gold copper iron wood cotton silk leather blue red white black yellow left right first second third never always often
please thank hello welcome exit enter push pull stop start wait slow fast free new old best daily weekly special offer discount""".split()
GOODS = """Coffee Tea Bread Milk Butter Cheese Apple Banana Tomato Pepper Onion Rice Pasta Salad Soup Cake Cookie Juice Honey Sugar
Lemon Eggs Water Pizza Burger Fries Donut Muffin Salt Beans Fish Chicken Steak Yogurt Cereal Candle Pencil Paper Soap Towel""".split()
PLACES = "Paris London Berlin Madrid Rome Vienna Oslo Dublin Lisbon Prague Athens Cairo Tokyo Lima Boston Denver".split()
PEOPLE = "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Karen Leo Mia Noah Olga Paul Rosa Sam Tina Victor".split()
SURNAMES = "Adams Baker Clark Dixon Evans Ford Gray Hill Irwin Jones King Lewis Moore Nolan Owens Perry Quinn Reed Stone Wood".split()
LABELS = ("name", "date", "city", "phone", "code", "amount", "order", "room", "age", "email", "country", "table", "weight", "time")
SYLLABLES = "ba be bo da de do fa fi ga go ha hi jo ka ki la le lo ma me mi na no pa pe ra re ri sa se so ta te ti tu va vi wa ya zo".split()

_fonts = {}


def font_files(held_out):
    files = sorted(f for f in os.listdir(FONT_DIR) if f.lower().endswith((".ttf", ".otf")))
    return [f for f in files if (f in HELD_OUT_FONTS) == held_out]


class Face:
    """One font at one size, with the advances and heights of its characters kept."""

    def __init__(self, name, size):
        self.font = ImageFont.truetype(os.path.join(FONT_DIR, name), size, layout_engine=ImageFont.Layout.BASIC)
        self.size = size
        self.known = {}

    def char(self, c):
        """(advance, top, bottom) of a character drawn at y = 0."""
        got = self.known.get(c)
        if got is None:
            box = self.font.getbbox(c)
            got = self.known[c] = (self.font.getlength(c), box[1], box[3])
        return got

    def width(self, text):
        return sum(self.char(c)[0] for c in text)


def face(name, size):
    got = _fonts.get((name, size))
    if got is None:
        got = _fonts[(name, size)] = Face(name, size)
    return got


class Scene:
    def __init__(self, width, height, background):
        self.image = Image.new("RGB", (width, height), background)
        self.draw = ImageDraw.Draw(self.image)
        self.width, self.height = width, height
        self.cells = []  # (x0, y0, x1, y1, class)
        self.places = []  # (x0, y0, x1, y1, axis, centre): what belongs to one bar of a chart, and where the bar's middle is on x (0) or y (1)
        self.pairs = []  # (label's box, label, value's box, value) of a bar or a column: each is taught where the other stands
        self.qas = []
        self.has_colours = False

    def text(self, x, y, text, fill, f):
        """Draws and returns (x0, y0, x1, y1)."""
        self.draw.text((x, y), text, font=f.font, fill=fill)
        at, top, bottom = x, 1 << 20, 0
        for c in text:
            advance, y0, y1 = f.char(c)
            if c != " ":
                self.cells.append((at, y + y0, at + advance, y + y1, CHAR_CLASS.get(c, 0)))
                top, bottom = min(top, y + y0), max(bottom, y + y1)
            at += advance
        return x, top, at, bottom

    def ask(self, question, answer, task):
        self.qas.append((question, answer, task))


def luma(c):
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


def colour_pair(rng):
    """A background and an ink that differ enough to read."""
    while True:
        kind = rng.random()
        if kind < 0.5:
            g = rng.randint(215, 255)
            back, ink = (g, g, g), (rng.randint(0, 70),) * 3
        elif kind < 0.7:
            g = rng.randint(0, 50)
            back, ink = (g, g, g), (rng.randint(180, 255),) * 3
        else:
            back = tuple(rng.randint(0, 255) for _ in range(3))
            ink = tuple(rng.randint(0, 255) for _ in range(3))
        if abs(luma(back) - luma(ink)) > 95:
            return back, ink
