# frozen_string_literal: true

require "stringio"

module Lamplighter
  # The function's own method: FILE.METHOD, or FILE.CLASS.METHOD where CLASS may have modules before it.
  class Handler
    FORM = "must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where FILENAME corresponds with an existing Ruby " \
           "source file FILENAME.rb, CLASS is an optional module/class namespace and METHOD is a callable method. " \
           "If using CLASS, METHOD must be a class-level method."

    # What was returned, as bytes, and their content type.
    def self.serialise(returned)
      case returned
      when StringIO, IO then [returned.read.to_s, "application/unknown"]
      else [JSON.generate(returned), "application/json"]
      end
    end

    def initialize(name)
      parts = name.split(".")
      raise ArgumentError, "Invalid handler #{name}, #{FORM}" unless [2, 3].include?(parts.size)

      file, *namespace, @method = parts
      @namespace = namespace.first
      require File.expand_path(file, ENV.fetch("LAMBDA_TASK_ROOT"))
    end

    def call(event, context)
      receiver = @namespace ? Kernel.const_get(@namespace) : TOPLEVEL_BINDING.receiver
      receiver.__send__(@method, event: event, context: context)
    end
  end
end
