// A filter in AssemblyScript: writes a header each way, answers /reply itself. Read with the runtime named below, or with another of the same interface.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  RootContext, Context, registerRootContext, FilterHeadersStatusValues, stream_context,
  send_local_response, GrpcStatusValues, log, LogLevelValues,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class Plugin extends RootContext {
  createContext(context_id: u32): Context { return new Stream(context_id, this); }
}

class Stream extends Context {
  constructor(context_id: u32, root_context: Plugin) { super(context_id, root_context); }
  onRequestHeaders(a: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const path = stream_context.headers.request.get(":path");
    log(LogLevelValues.info, "path " + path);
    const configuration = this.root_context.getConfiguration();
    stream_context.headers.request.replace("x-sdk", configuration);
    if (path == "/reply") {
      send_local_response(403, "", String.UTF8.encode("no entry"), [], GrpcStatusValues.Ok);
      return FilterHeadersStatusValues.StopIteration;
    }
    return FilterHeadersStatusValues.Continue;
  }
  onResponseHeaders(a: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-sdk-response", this.root_context.getConfiguration());
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => { return new Plugin(context_id); }, "filter");
