// A worker: fetches a pair and makes its smaller copies, while the page stays free for keys.

const SMALLEST = 300; // pixels of the longest side below which no smaller copy is made

function halved({ pixels, rows, columns }) {
  const height = rows >> 1, width = columns >> 1;
  const out = new pixels.constructor(height * width);
  for (let row = 0, at = 0; row < height; row += 1) {
    let a = 2 * row * columns, b = a + columns;
    for (let column = 0; column < width; column += 1, a += 2, b += 2) {
      out[at++] = (pixels[a] + pixels[a + 1] + pixels[b] + pixels[b + 1] + 2) >> 2;
    }
  }
  return { pixels: out, rows: height, columns: width };
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.ok) return answer;
  const kind = answer.headers.get("content-type") || "";
  throw new Error(kind.includes("json") ? (await answer.json()).error : await answer.text());
}

async function load(name) {
  const [pixels, contours] = await Promise.all([ask(`api/pixels/${name}`), ask(`api/contours/${name}`)]);
  const fact = (word) => Number(pixels.headers.get(`x-${word}`));
  const data = await pixels.arrayBuffer(), bits = fact("bits");
  const first = { pixels: bits === 16 ? new Uint16Array(data) : new Uint8Array(data), rows: fact("rows"), columns: fact("columns") };
  if (first.pixels.length !== first.rows * first.columns) throw new Error("the image came in part only");
  const levels = [first];
  while (Math.max(levels.at(-1).rows, levels.at(-1).columns) > SMALLEST) {
    if (Math.min(levels.at(-1).rows, levels.at(-1).columns) < 4) break;
    levels.push(halved(levels.at(-1)));
  }
  return { levels, bits, low: fact("low"), high: fact("high"), contours: (await contours.json()).contours };
}

onmessage = async ({ data: { id, name } }) => {
  try {
    const made = await load(name);
    postMessage({ id, made }, made.levels.map((level) => level.pixels.buffer));
  } catch (error) {
    postMessage({ id, refused: error.message });
  }
};
