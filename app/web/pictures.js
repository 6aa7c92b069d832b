// Picture files: what the browser knows of them, and the bytes that go to the server.

const kSentAsTheyAre = ['image/png', 'image/jpeg', 'image/webp', 'image/bmp'];  // what the server reads
const kJpegQuality = 0.95;

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/**
 * The orientation that EXIF gives a JPEG, 1 where it gives none. The server, like the model's own Python, shows the model the
 * stored pixels; the browser turns them. Boxes must mean the same picture on both sides.
 */
export function jpegOrientation(bytes) {
  const view = new DataView(bytes);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return 1;
  for (let at = 2; at + 4 <= view.byteLength && view.getUint8(at) === 0xff;) {
    const marker = view.getUint8(at + 1), length = view.getUint16(at + 2);
    if (marker === 0xda || length < 2) break;
    const tiff = at + 10, end = Math.min(at + 2 + length, view.byteLength);
    if (marker === 0xe1 && tiff + 8 <= end && view.getUint32(at + 4) === 0x45786966) {
      const little = view.getUint16(tiff) === 0x4949;
      const folder = tiff + view.getUint32(tiff + 4, little);
      const count = folder + 2 <= end ? view.getUint16(folder, little) : 0;
      for (let i = 0, tag = folder + 2; i < count && tag + 12 <= end; ++i, tag += 12)
        if (view.getUint16(tag, little) === 0x0112) return view.getUint16(tag + 8, little);
    }
    at += 2 + length;
  }
  return 1;
}

async function redraw(bitmap, type) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({type, quality: kJpegQuality});
}

/**
 * Opens a picture file: {name, width, height, url, data}. `url` shows it here, `data` is a data URL for the server, and both are
 * the same pixels: a turned JPEG and a format the server does not read are encoded anew.
 * Throws an Error with a line for the user.
 */
export async function openPicture(file, limits) {
  const name = file.name || 'pasted picture';
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch {
    throw new Error(`${name}: this is not a picture that the browser can open`);
  }
  try {
    const {width, height} = bitmap;
    if (width * height > limits.maxPixels)
      throw new Error(`${name}: ${width} x ${height} is more than the ${Math.floor(limits.maxPixels / 1e6)} megapixels the server takes`);
    let blob = file;
    if (!kSentAsTheyAre.includes(file.type)) blob = await redraw(bitmap, 'image/png');
    else if (file.type === 'image/jpeg' && jpegOrientation(await file.arrayBuffer()) !== 1) blob = await redraw(bitmap, 'image/jpeg');
    return {name, width, height, url: URL.createObjectURL(blob), data: await dataUrl(blob)};
  } finally {
    bitmap.close();
  }
}
