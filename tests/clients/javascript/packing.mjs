// Where best-fit packing puts the tokens of documents: section 7.5 of format.md.

/**
 * The sequences that documents of `lengths` tokens, in the order of their slots, make: each a list of pieces with
 * `document` (an index into `lengths`), `start` and `length`.
 */
export function packBestFit(lengths, sequenceLength) {
  const pieces = piecesOf(lengths, sequenceLength);
  const sequences = [];
  // By room: the sequences that have so much, the one that came to have it last at the end.
  const withRoom = Array.from({ length: sequenceLength + 1 }, () => []);
  const order = Array.from(pieces.keys()).sort((a, b) => pieces[b].length - pieces[a].length || a - b);
  for (const number of order) {
    let room = pieces[number].length;
    while (room <= sequenceLength && withRoom[room].length === 0) room += 1;
    if (room > sequenceLength) {
      room = sequenceLength;
      withRoom[room].push(sequences.push([]) - 1);
    }
    const sequence = withRoom[room].pop();
    sequences[sequence].push(number);
    withRoom[room - pieces[number].length].push(sequence);
  }
  for (const numbers of sequences) numbers.sort((a, b) => a - b);
  sequences.sort((one, other) => one[0] - other[0]);
  return sequences.map((numbers) => numbers.map((number) => pieces[number]));
}

function piecesOf(lengths, sequenceLength) {
  const pieces = [];
  for (const [document, length] of lengths.entries()) {
    for (let start = 0; start < length; start += sequenceLength) {
      pieces.push({ document, start, length: Math.min(sequenceLength, length - start) });
    }
  }
  return pieces;
}
