// The Node.js functions of the soak.
exports.handler = async (event) => {
  console.log(`ran ${event.id}`);
  if (event.do === "leave") process.exit(event.code);
  if (event.do === "fail") throw new Error(event.id);
  return { id: event.id, given: event.given };
};

exports.stream = awslambda.streamifyResponse(async (event, stream) => {
  console.log(`ran ${event.id}`);
  for (let piece = 0; piece < event.pieces; piece += 1) {
    stream.write("x".repeat(event.size));
    await new Promise((done) => setTimeout(done, event.pause));
    if (event.do === "leave" && piece > 0) process.exit(3);
  }
  stream.end(event.id);
});
