// Connected pieces (26 neighbours) of the voxels at or above a level, the largest first.
const componentsOf = (levels, shape, threshold) => {
  const [nx, ny, nz] = shape;
  const seen = new Uint8Array(levels.length);
  const stack = [];
  const found = [];
  for (let seed = 0; seed < levels.length; seed++) {
    if (seen[seed] || levels[seed] < threshold) continue;
    const piece = { voxels: 0, peak: seed };
    seen[seed] = 1;
    stack.push(seed);
    while (stack.length) {
      const i = stack.pop();
      const [x, y, z] = [i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny))];
      piece.voxels++;
      if (levels[i] > levels[piece.peak]) piece.peak = i;
      for (let c = Math.max(0, z - 1); c <= Math.min(nz - 1, z + 1); c++) {
        for (let b = Math.max(0, y - 1); b <= Math.min(ny - 1, y + 1); b++) {
          for (let a = Math.max(0, x - 1); a <= Math.min(nx - 1, x + 1); a++) {
            const j = a + nx * (b + ny * c);
            if (!seen[j] && levels[j] >= threshold) { seen[j] = 1; stack.push(j); }
          }
        }
      }
    }
    found.push(piece);
  }
  return found.sort((a, b) => b.voxels - a.voxels);
};
