// Boxes over pictures. A box is {label, box: [left, top, right, bottom], picture}, 0..999 of the picture's width and height.

const kFar = 999;  // the coordinate of the far edge
const kColours = 8;

/** True for a box that can be drawn: the server's word is not taken for it. */
export function isBox(box) {
  return box !== null && typeof box === 'object' && Array.isArray(box.box) && box.box.length === 4 && box.box.every(Number.isFinite);
}

/** The box in pixels of the picture, as the model's own Python rounds. */
export function pixels(box, picture) {
  return box.box.map((value, i) => Math.trunc(value / kFar * (i % 2 ? picture.height : picture.width)));
}

function place(node, corners) {
  const [x1, x2] = [corners[0], corners[2]].sort((a, b) => a - b), [y1, y2] = [corners[1], corners[3]].sort((a, b) => a - b);
  const percent = (value) => `${value / kFar * 100}%`;
  node.style.left = percent(x1);
  node.style.top = percent(y1);
  node.style.width = percent(x2 - x1);
  node.style.height = percent(y2 - y1);
}

/** The pictures of an answer with its boxes, their list below. Grows with each update(). */
export class BoxView {
  /** copy(text) puts text on the clipboard; pictures are those of the request, in its order. */
  constructor(pictures, copy) {
    this.pictures = pictures;
    this.boxes = [];
    this.frames = new Map();  // index of a picture -> its frame
    this.node = document.createElement('div');
    this.node.className = 'found';
    this.views = this.node.appendChild(document.createElement('div'));
    this.details = this.node.appendChild(document.createElement('details'));
    this.details.open = true;
    this.summary = this.details.appendChild(document.createElement('summary'));
    this.list = this.details.appendChild(document.createElement('ol'));
    this.list.className = 'boxes';
    this.copyButton = this.details.appendChild(document.createElement('button'));
    this.copyButton.type = 'button';
    this.copyButton.textContent = 'Copy as JSON';
    this.copyButton.addEventListener('click', () => copy(JSON.stringify(this.json(), null, 2), this.copyButton));
  }

  /** Shows `boxes`, the whole list so far; draws only what is new or has changed. */
  update(boxes) {
    const drawable = boxes.filter((box) => isBox(box) && this.pictures[this.pictureOf(box)]);
    drawable.forEach((box, i) => {
      const known = this.boxes[i];
      if (known && JSON.stringify(known.box) === JSON.stringify(box)) return;
      if (known) this.remove(i);
      this.boxes[i] = this.draw(box, i);
    });
    while (this.boxes.length > drawable.length) this.remove(this.boxes.length - 1, true);
    this.summary.textContent = this.boxes.length === 1 ? '1 box' : `${this.boxes.length} boxes`;
  }

  json() {
    return this.boxes.map(({box}) => ({
                            label: box.label,
                            box: box.box,
                            pixels: pixels(box, this.pictures[this.pictureOf(box)]),
                            picture: this.pictureOf(box),
                            ...(Number.isFinite(box.probability) ? {probability: box.probability} : {}),
                          }));
  }

  pictureOf(box) {
    return Number.isInteger(box.picture) ? box.picture : this.pictures.length - 1;
  }

  frame(index) {
    if (!this.frames.has(index)) {
      const picture = this.pictures[index];
      const frame = document.createElement('figure');
      frame.className = 'frame';
      const image = frame.appendChild(document.createElement('img'));
      image.src = picture.url;
      image.width = picture.width;
      image.height = picture.height;
      image.alt = `${picture.name}, with the boxes of the answer`;
      this.frames.set(index, this.views.appendChild(frame));
    }
    return this.frames.get(index);
  }

  draw(box, i) {
    const picture = this.pictureOf(box), colour = `c${i % kColours}`;
    const shape = document.createElement('div');
    shape.className = `box ${colour}`;
    shape.setAttribute('aria-hidden', 'true');  // the list says it in words
    place(shape, box.box);
    const tag = shape.appendChild(document.createElement('span'));
    tag.textContent = box.label;
    tag.dir = 'auto';
    tag.classList.toggle('inside', Math.min(box.box[1], box.box[3]) < 60);  // no room above it
    tag.classList.toggle('leftward', box.box[0] + box.box[2] > kFar);         // more room on the left
    this.frame(picture).append(shape);

    const row = document.createElement('li');
    const button = row.appendChild(document.createElement('button'));
    button.type = 'button';
    button.className = `chip ${colour}`;
    const [x1, y1, x2, y2] = pixels(box, this.pictures[picture]);
    const name = button.appendChild(document.createElement('bdi'));
    name.textContent = box.label || 'no label';
    const where = this.pictures.length > 1 ? `picture ${picture + 1}, ` : '';
    const sure = Number.isFinite(box.probability) ? `, ${Math.round(box.probability * 100)} % sure` : '';
    button.append(` ${where}${x1}, ${y1} to ${x2}, ${y2}${sure}`);
    button.setAttribute('aria-pressed', 'false');
    const light = (on) => shape.classList.toggle('lit', on || button.getAttribute('aria-pressed') === 'true');
    button.addEventListener('click', () => {
      const pressed = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', String(pressed));
      light(pressed);
    });
    for (const event of ['mouseenter', 'focus']) button.addEventListener(event, () => light(true));
    for (const event of ['mouseleave', 'blur']) button.addEventListener(event, () => light(false));
    this.list.insertBefore(row, this.list.children[i] ?? null);
    return {box, shape, row};
  }

  remove(i, forGood = false) {
    this.boxes[i].shape.remove();
    this.boxes[i].row.remove();
    if (forGood) this.boxes.length = i;
  }
}
