"""A receiver of webhooks: prints its address, and takes whatever comes."""

import http.server


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"taken")

    def log_message(self, *arguments: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
server.serve_forever()
