// Runs in a page: fills a request on a device, and returns the SHA-256 of its bytes.

export async function filled(fanin, device, request) {
  const { bytes } = fanin.describe(request);
  const size = Math.ceil(bytes / 4) * 4;
  const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const encoder = device.createCommandEncoder();
  fanin.fill(device, encoder, buffer, request);
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  return fanin.sha256(new Uint8Array(staging.getMappedRange(), 0, bytes));
}
