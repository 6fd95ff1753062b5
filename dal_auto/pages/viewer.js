"use strict";
// Four volumes in three planes. Axes: x to the left, y to the back, z up; x runs fastest.
const find = id => document.getElementById(id);

const unpack = async element => {
  const text = atob(element.textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const levels = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = 1; i < levels.length; i++) levels[i] += levels[i - 1]; // modulo 256
  return levels;
};

const MAGMA = [[0, 0, 4], [29, 17, 71], [81, 18, 124], [131, 38, 129], [183, 55, 121],
  [231, 82, 99], [252, 137, 97], [254, 196, 136], [252, 253, 191]];
const magma = share => { // of matplotlib, between nine of its colours
  const place = Math.min(Math.max(share, 0), 1) * (MAGMA.length - 1);
  const i = Math.min(Math.floor(place), MAGMA.length - 2);
  return MAGMA[i].map((value, channel) => value + (place - i) * (MAGMA[i + 1][channel] - value));
};
const OUTLINE = "#56b4e9";
const INK = "#d8d8d8";

const start = async () => {
  const about = JSON.parse(find("about").textContent);
  const { shape } = about;
  const strides = [1, shape[0], shape[0] * shape[1]];
  const layers = {};
  for (const element of document.querySelectorAll("[data-layer]")) {
    layers[element.dataset.layer] = await unpack(element);
    element.remove(); // its text is not needed any more
  }
  const { anomaly } = layers;
  const lesion = layers.lesion ?? new Uint8Array(anomaly.length); // a case of one's own has none
  const healthy = "pseudo-healthy" in layers;

  // How many voxels have each level, in all and in the lesion.
  const all = new Array(257).fill(0);
  const hit = new Array(257).fill(0);
  for (let i = 0; i < anomaly.length; i++) { all[anomaly[i]]++; hit[anomaly[i]] += lesion[i]; }
  for (let level = 255; level >= 0; level--) { all[level] += all[level + 1]; hit[level] += hit[level + 1]; }

  const scoreOf = level => about.highest * (level / 255) ** 2;
  const levelOf = score => // 256 is above every voxel
    about.highest > 0 ? Math.min(256, Math.max(1, Math.ceil(255 * Math.sqrt(score / about.highest) - 1e-6))) : 256;
  const shown = number => number.toPrecision(3);
  const percent = (part, whole) => whole ? `${(100 * part / whole).toFixed(1)} %` : "–";

  const at = [...about.start];
  const indexOf = voxel => voxel[0] * strides[0] + voxel[1] * strides[1] + voxel[2] * strides[2];
  const chosen = () => document.querySelector("input[name=image]:checked").value;
  const views = [
    { name: "sagittal", through: 0, across: 1, down: 2, flipped: true, ends: ["A", "P"] },
    { name: "coronal", through: 1, across: 0, down: 2, flipped: true, ends: ["R", "L"] },
    { name: "axial", through: 2, across: 0, down: 1, flipped: false, ends: ["R", "L"] },
  ];
  const planes = [
    ...views.map(view => ({ ...view, id: view.name, image: chosen })),
    ...(healthy ? views.map(view => ({ ...view, id: `${view.name}-beside`, image: () => "pseudo-healthy" })) : []),
  ];
  let dragging = false;
  for (const plane of planes) {
    plane.canvas = find(plane.id);
    plane.size = [shape[plane.across], shape[plane.down]];
    plane.canvas.style.aspectRatio = `${plane.size[0]} / ${plane.size[1]}`;
    plane.canvas.parentElement.style.flexGrow = plane.size[0];
    for (const kind of ["under", "over"]) {
      const hidden = document.createElement("canvas");
      [hidden.width, hidden.height] = plane.size;
      plane[kind] = hidden.getContext("2d");
    }
  }

  // Window and level of grey images, as a table of all levels.
  const greys = () => {
    const [window_, level] = ["window", "level"].map(id => Number(find(id).value));
    return Uint8Array.from({ length: 256 }, (_, value) =>
      Math.min(255, Math.max(0, Math.round(255 * (value - level + window_ / 2) / window_))));
  };
  // The part of a plane that is in sight: around the crosshair, but still while it is dragged.
  const look = plane => {
    const zoom = Number(find("zoom").value);
    const [width, height] = plane.size;
    const part = [width / zoom, height / zoom];
    if (!dragging || !plane.part) {
      const row = plane.flipped ? height - 1 - at[plane.down] : at[plane.down];
      plane.corner = [at[plane.across], row].map((place, side) =>
        Math.min(plane.size[side] - part[side], Math.max(0, place + 0.5 - part[side] / 2)));
    }
    plane.part = part;
  };

  const draw = plane => {
    if (!plane.canvas.clientWidth) return; // it is hidden
    const [width, height] = plane.size;
    const image = plane.image();
    const base = layers[image];
    const grey = greys();
    look(plane);
    const [left, top] = plane.corner;
    const threshold = Number(find("threshold").value);
    const withOver = find("over").checked && image !== "anomaly";
    const under = plane.under.createImageData(width, height);
    const over = plane.over.createImageData(width, height);
    const first = at[plane.through] * strides[plane.through];
    const rowOf = r => (plane.flipped ? height - 1 - r : r) * strides[plane.down];
    for (let r = 0, pixel = 0; r < height; r++) {
      for (let c = 0, i = first + rowOf(r); c < width; c++, i += strides[plane.across], pixel += 4) {
        const level = base[i];
        const colour = image === "anomaly" ? magma(level / 255) : [grey[level], grey[level], grey[level]];
        under.data.set([...colour, 255], pixel);
        if (withOver && anomaly[i] >= threshold) {
          const share = 0.4 + 0.6 * (anomaly[i] - threshold) / Math.max(1, 255 - threshold);
          over.data.set([...magma(share), 255], pixel);
        }
      }
    }
    plane.under.putImageData(under, 0, 0);
    plane.over.putImageData(over, 0, 0);

    const { canvas } = plane;
    const dots = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dots));
    canvas.height = Math.max(1, Math.round(canvas.clientWidth * dots * height / width));
    const scale = canvas.width / plane.part[0];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    const sight = [left, top, ...plane.part, 0, 0, canvas.width, canvas.height];
    pen.drawImage(plane.under.canvas, ...sight);
    pen.imageSmoothingEnabled = false; // a threshold has sharp borders
    pen.globalAlpha = Number(find("opacity").value) / 100;
    pen.drawImage(plane.over.canvas, ...sight);
    pen.globalAlpha = 1;

    if (find("outline")?.checked) { // the borders between lesion and other voxels
      const inside = (c, r) => c >= 0 && r >= 0 && c < width && r < height
        && lesion[first + rowOf(r) + c * strides[plane.across]] > 0;
      pen.beginPath();
      for (let r = 0; r <= height; r++) {
        for (let c = 0; c <= width; c++) {
          if (inside(c, r) !== inside(c - 1, r)) { pen.moveTo((c - left) * scale, (r - top) * scale); pen.lineTo((c - left) * scale, (r + 1 - top) * scale); }
          if (inside(c, r) !== inside(c, r - 1)) { pen.moveTo((c - left) * scale, (r - top) * scale); pen.lineTo((c + 1 - left) * scale, (r - top) * scale); }
        }
      }
      pen.strokeStyle = OUTLINE;
      pen.lineWidth = 1.5 * dots;
      pen.stroke();
    }
    if (find("cross").checked) {
      const row = plane.flipped ? height - 1 - at[plane.down] : at[plane.down];
      const [x, y] = [(at[plane.across] + 0.5 - left) * scale, (row + 0.5 - top) * scale];
      pen.strokeStyle = "rgba(255, 255, 255, .45)";
      pen.lineWidth = dots;
      pen.beginPath();
      pen.moveTo(x, 0); pen.lineTo(x, canvas.height);
      pen.moveTo(0, y); pen.lineTo(canvas.width, y);
      pen.stroke();
    }
    pen.fillStyle = INK;
    [pen.shadowColor, pen.shadowBlur] = ["#000", 4 * dots];
    pen.font = `${13 * dots}px system-ui, sans-serif`;
    pen.textBaseline = "top";
    pen.fillText(plane.ends[0], 5 * dots, 5 * dots);
    pen.textAlign = "right";
    pen.fillText(plane.ends[1], canvas.width - 5 * dots, 5 * dots);
    canvas.setAttribute("aria-label", `${plane.name} plane, slice ${at[plane.through] + 1} of ${shape[plane.through]}: ${image}`
      + (withOver ? ", with the anomaly map above the threshold" : "") + (find("outline")?.checked ? ", lesion mask outlined" : ""));
  };

  const say = () => {
    const threshold = Number(find("threshold").value);
    find("cut").value = shown(scoreOf(threshold));
    find("threshold").setAttribute("aria-valuetext", `score ${shown(scoreOf(threshold))}`);
    find("opaque").value = `${find("opacity").value} %`;
    find("magnified").value = `${find("zoom").value} ×`;
    for (const id of ["window", "level"]) find(`is-${id}`).value = (Number(find(id).value) / 255).toFixed(2);
    const [called, hits, whole] = [all[threshold], hit[threshold], hit[0]];
    find("marked").textContent = `At this threshold ${(called * about.voxel_ml).toFixed(1)} ml are marked`
      + (whole ? `: ${percent(hits, whole)} of the lesion, DSC ${percent(2 * hits, called + whole)}.` : ".");
    at.forEach((place, axis) => {
      const whole = place + about.origin[axis]; // on the standard grid, as the picture has it
      find(`at${axis}`).value = place;
      find(`at${axis}`).setAttribute("aria-valuetext", whole);
      find(`is${axis}`).value = whole;
    });
    const i = indexOf(at);
    find("values").textContent = [
      `input ${(layers.input[i] / 255).toFixed(2)}`,
      ...(healthy ? [`pseudo-healthy ${(layers["pseudo-healthy"][i] / 255).toFixed(2)}`] : []),
      `score ${shown(scoreOf(anomaly[i]))}`,
      ...(layers.lesion ? [lesion[i] ? "in the lesion mask" : "outside the lesion mask"] : []),
    ].join(", ");
    const place = at.map((one, axis) => one + about.origin[axis]).join(",");
    for (const link of document.querySelectorAll("a[data-linked]")) link.hash = place;
  };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; planes.forEach(draw); say(); });
  };
  const move = (axis, place) => {
    at[axis] = Math.min(shape[axis] - 1, Math.max(0, place));
    redraw();
  };
  const voxelOf = i => [i % shape[0], Math.floor(i / shape[0]) % shape[1], Math.floor(i / strides[2])];
  const go = voxel => { voxel.forEach((place, axis) => move(axis, place)); };

  for (const plane of planes) {
    const { canvas } = plane;
    const point = event => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(plane.corner[0] + (event.clientX - box.left) / box.width * plane.part[0]);
      const row = Math.floor(plane.corner[1] + (event.clientY - box.top) / box.height * plane.part[1]);
      move(plane.across, column);
      move(plane.down, plane.flipped ? plane.size[1] - 1 - row : row);
    };
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus();
      dragging = true;
      point(event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => { dragging = false; redraw(); });
    }
    canvas.addEventListener("pointermove", event => { if (event.buttons) point(event); });
    canvas.addEventListener("wheel", event => {
      if (document.activeElement !== canvas) return; // else the page scrolls
      event.preventDefault();
      move(plane.through, at[plane.through] + Math.sign(event.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", event => {
      const step = event.shiftKey ? 10 : 1;
      const up = plane.flipped ? step : -step;
      const moves = {
        ArrowLeft: [plane.across, -step], ArrowRight: [plane.across, step],
        ArrowUp: [plane.down, up], ArrowDown: [plane.down, -up],
        PageUp: [plane.through, step], PageDown: [plane.through, -step],
      };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in moves) {
        const [axis, by] = moves[event.key];
        event.preventDefault();
        move(axis, at[axis] + by);
      } else if ("+-".includes(event.key)) {
        find("zoom").value = Number(find("zoom").value) + (event.key === "+" ? 0.5 : -0.5);
        redraw();
      } else if (event.key.toLowerCase() === "b") {
        const next = [...document.querySelectorAll("input[name=image]:not(:checked)")].find(one => one.value !== "anomaly");
        if (next) { next.checked = true; redraw(); }
      }
    });
  }

  // The pieces that are marked; a press leads to the highest score of one.
  let later = 0;
  const list = () => {
    const threshold = Number(find("threshold").value);
    const tooMany = all[threshold] > 500000;
    const pieces = tooMany ? [] : componentsOf(anomaly, shape, threshold);
    const buttons = pieces.slice(0, 12).map(({ voxels, peak }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${(voxels * about.voxel_ml).toFixed(2)} ml, ${shown(scoreOf(anomaly[peak]))}`;
      button.addEventListener("click", () => go(voxelOf(peak)));
      return button;
    });
    find("pieces").replaceChildren(...buttons);
    find("counted").textContent = tooMany ? "too much is marked to be listed"
      : `${pieces.length} in all; volume and highest score${pieces.length > 12 ? " of the 12 largest" : ""}`;
  };
  const listLater = () => { clearTimeout(later); later = setTimeout(list, 150); };

  for (const [name, score] of about.thresholds) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${name}: ${shown(score)}`;
    button.addEventListener("click", () => { find("threshold").value = levelOf(score); redraw(); list(); });
    find("known").append(button);
  }
  const [first] = about.thresholds;
  find("threshold").value = first ? levelOf(first[1]) : 128;
  shape.forEach((length, axis) => {
    find(`at${axis}`).max = length - 1;
    find(`at${axis}`).addEventListener("input", event => move(axis, Number(event.target.value)));
  });
  find("tools").addEventListener("input", redraw);
  find("threshold").addEventListener("input", listLater);
  find("side")?.addEventListener("input", () => { find("beside").hidden = !find("side").checked; redraw(); });
  find("to-start").textContent = hit[0] ? "largest lesion" : "start";
  find("to-start").addEventListener("click", () => go(about.start));
  find("to-highest").addEventListener("click", () => {
    let highest = 0;
    for (let i = 1; i < anomaly.length; i++) if (anomaly[i] > anomaly[highest]) highest = i;
    go(voxelOf(highest));
  });

  const linked = location.hash.slice(1).split(",").map(Number); // from another sequence's page
  if (linked.length === 3 && linked.every(Number.isInteger)) go(linked.map((one, axis) => one - about.origin[axis]));
  list();

  find("state").hidden = true;
  find("tools").hidden = false;
  new ResizeObserver(redraw).observe(find("planes"));
  redraw();
};

start().catch(error => {
  find("state").hidden = false;
  find("tools").hidden = true;
  find("state").textContent = `The volumes cannot be shown in this browser (${error}).`;
});
