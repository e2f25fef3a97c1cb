import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const daemon = process.env.KAIROS_URL ?? "http://127.0.0.1:8484";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../src/kairos/dashboard_files",
    emptyOutDir: true,
    manifest: true,
    // The daemon's content security policy permits data: for images only, so nothing else may be inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ["chrome123", "edge123", "firefox121", "safari17.5"],
  },
  server: {
    proxy: {
      "/api": {
        target: daemon,
        ws: true,
        changeOrigin: true,
        // The daemon compares Origin with its own address before it accepts the refresh cookie.
        configure: (proxy) => {
          proxy.on("proxyReq", (request) => {
            if (request.getHeader("origin")) request.setHeader("origin", daemon);
          });
          proxy.on("proxyReqWs", (request) => {
            request.setHeader("origin", daemon);
          });
        },
      },
    },
  },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"] },
});
