// Opened from disk, a page may start no workers. The search then runs in a hidden frame that speaks the same messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => setTimeout(() => {
        const message = new MessageEvent("message", { data: structuredClone(data) })
        this.onmessage?.(message)
        this.dispatchEvent(message)
      })
      const script = this.inside.document.createElement("script")
      script.src = url
      this.started = new Promise(done => script.addEventListener("load", done))
      this.inside.document.body.append(script)
    }

    terminate() {
      this.inside.frameElement?.remove()
    }

    postMessage(data) {
      this.started.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) })))
    }
  }
}
